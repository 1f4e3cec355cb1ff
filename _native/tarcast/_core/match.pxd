# match: include and exclude patterns, compiled once and evaluated millions of times.
#
# Ownership: a PatternList owns its Matcher and everything the Matcher points at; all of it is allocated
#   when the list is built and freed with it. Callers own path, parent and result. No pointer handed in is
#   kept. Whoever uses `list.matcher` keeps the PatternList alive meanwhile.
# GIL: building and freeing hold it; the match_* functions neither need nor take it. match_path writes the
#   scratch memory inside the Matcher, so one thread at a time may match with one Matcher; the
#   match_prunes_* functions only read.
# Errors: none leave the match_* functions: a pattern is checked when it is compiled (tarcast.patterns).
#   Building raises TypeError, ValueError (compiled form out of shape) or MemoryError.
# Units: lengths in bytes, states and items in items, runes are code points as Go decodes them: a byte
#   that is not part of valid UTF-8 is U+FFFD of one byte.
#
# Compiled form, made by tarcast.patterns: (sets, patterns)
#   sets:     tuple of tuples of ints lo, hi, lo, hi, ...: sorted, disjoint, inclusive rune ranges
#   patterns: tuple of (mode, negated, needle, bare, bare_is_glob, lines)
#     mode          MODE_*: how to compare
#     negated       True for `!`
#     needle        bytes to compare with (all modes but MODE_REGEXP)
#     bare          bytes: the pattern without its final wildcards, what pruning compares with
#     bare_is_glob  True if bare still holds a wildcard: then nothing may be pruned
#     lines         tuple of alternatives (MODE_REGEXP only): (head, tail, to_end, items)
#       head, tail    bytes that the path must start and end with; items match only what is between
#       to_end        True if a match must reach the end of the path, False if any start of it will do
#                     (then tail is empty)
#       items         tuple of (kind, argument): ITEM_* with its rune or the index of its set
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

cdef enum:
    MODE_EXACT = 0
    MODE_PREFIX = 1
    MODE_SUFFIX = 2
    MODE_REGEXP = 3

cdef enum:
    ITEM_RUNE = 0       # one rune, equal to argument
    ITEM_SET = 1        # one rune of the set
    ITEM_STAR = 2       # any number of runes of the set
    ITEM_MAYBE = 3      # one rune of the set or none
    ITEM_SKIP = 4       # choice: the next item, which is ITEM_RUN, or the one after it
    ITEM_RUN = 5        # any number of runes but newline, then a slash
    ITEM_BEGIN = 6      # the path starts here
    ITEM_END = 7        # the path ends here
    ITEM_WORD = 8       # an ASCII word starts or ends here
    ITEM_NOT_WORD = 9   # none does

cdef struct RuneRange:
    uint32_t low
    uint32_t high

cdef struct RuneSet:
    uint64_t ascii[2]   # one bit for each rune below 128
    uint32_t first      # its ranges in Matcher.ranges, only what lies above 127
    uint32_t ranges

cdef struct Item:
    uint32_t kind
    uint32_t argument

cdef struct Line:
    const unsigned char* head
    const unsigned char* tail
    const Item* items
    size_t head_length
    size_t tail_length
    uint32_t item_count
    int32_t last_set    # set that the last rune must be in, or -1 when that says nothing
    uint8_t to_end

cdef struct Pattern:
    const unsigned char* needle
    const unsigned char* bare
    const Line* lines   # any of them may match
    size_t needle_length
    size_t bare_length
    uint32_t line_count
    uint8_t mode
    uint8_t negated

cdef struct Matcher:
    size_t count                # number of patterns: the length of the result arrays
    Pattern* patterns
    Line* lines
    Item* items
    RuneSet* sets
    RuneRange* ranges
    unsigned char* text         # every needle, bare, head and tail
    uint32_t* scratch           # two lists of `stride` states
    size_t stride
    uint8_t includes_glob       # a pattern without `!` has a wildcard in its bare text
    uint8_t exceptions_glob     # a pattern with `!` has

cdef class PatternList:
    cdef Matcher matcher

# Evaluates `path` (relative, `/` between components, none at the end) as the walk does. `parent` is the
# result array of the nearest visited ancestor directory, or NULL: then the ancestors of `path` are tried
# too. Writes `count` bytes of 0 or 1 to `result`, which may not overlap `parent`. Returns 1 when matched.
cdef bint match_path(
    Matcher* matcher, const char* path, size_t length, const unsigned char* parent, unsigned char* result
) noexcept nogil

# For a directory that an include list did not match: 1 when nothing below it can match either.
cdef bint match_prunes_unmatched(const Matcher* matcher, const char* path, size_t length) noexcept nogil

# For a directory that an exclude list did match: 1 when no `!` pattern can bring back anything below it.
cdef bint match_prunes_matched(const Matcher* matcher, const char* path, size_t length) noexcept nogil
