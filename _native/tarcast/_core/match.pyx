# match: include and exclude patterns, compiled once and evaluated millions of times.
#
# Ownership, GIL, errors, units and the compiled form: see match.pxd.
#
# The expressions that patterns can turn into are alternatives, each a straight line of items without
# nesting, so matching is a walk over the path with the sorted list of items that could come next. Every step costs at most one
# look at each item: the time is bounded by (runes of the path) x (items), whatever the pattern.
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport SIZE_MAX, int64_t
from libc.string cimport memcmp, memcpy

cdef enum:
    MAX_RUNE = 0x10FFFF
    MAX_PATTERNS = 1 << 20      # of one list
    MAX_ITEMS = 1 << 18         # of one line; tarcast._regexp stops well before
    MAX_LINES = 1 << 24         # of one list
    MAX_SETS = 1 << 20          # of one list
    MAX_RANGES = 1 << 26        # of one list


# ---- runes ----

cdef inline uint32_t next_rune(const unsigned char* at, size_t left, size_t* width) noexcept nogil:
    """The rune at `at`, which has `left` > 0 bytes; its length goes to `width`."""
    cdef uint32_t lead = at[0]
    cdef uint32_t low = 0x80, high = 0xBF
    width[0] = 1
    if lead < 0x80:
        return lead
    if lead < 0xC2 or lead > 0xF4 or left < 2:
        return 0xFFFD
    if lead == 0xE0:
        low = 0xA0          # shorter forms exist
    elif lead == 0xED:
        high = 0x9F         # surrogates
    elif lead == 0xF0:
        low = 0x90          # shorter forms exist
    elif lead == 0xF4:
        high = 0x8F         # beyond U+10FFFF
    if at[1] < low or at[1] > high:
        return 0xFFFD
    if lead < 0xE0:
        width[0] = 2
        return (lead & 0x1F) << 6 | (at[1] & 0x3F)
    if left < 3 or at[2] & 0xC0 != 0x80:
        return 0xFFFD
    if lead < 0xF0:
        width[0] = 3
        return (lead & 0x0F) << 12 | (at[1] & 0x3F) << 6 | (at[2] & 0x3F)
    if left < 4 or at[3] & 0xC0 != 0x80:
        return 0xFFFD
    width[0] = 4
    return (lead & 0x07) << 18 | (at[1] & 0x3F) << 12 | (at[2] & 0x3F) << 6 | (at[3] & 0x3F)


cdef inline bint ascii_in_set(const RuneSet* runes, uint32_t rune) noexcept nogil:
    return (runes.ascii[rune >> 6] >> (rune & 63)) & 1


cdef bint in_set(const Matcher* matcher, const RuneSet* runes, uint32_t rune) noexcept nogil:
    cdef const RuneRange* ranges
    cdef uint32_t low = 0, high, middle
    if rune < 128:
        return ascii_in_set(runes, rune)
    ranges = matcher.ranges + runes.first
    high = runes.ranges
    while low < high:
        middle = low + (high - low) // 2
        if rune > ranges[middle].high:
            low = middle + 1
        elif rune < ranges[middle].low:
            high = middle
        else:
            return True
    return False


cdef inline bint is_word(unsigned char byte) noexcept nogil:
    return c'a' <= byte <= c'z' or c'A' <= byte <= c'Z' or c'0' <= byte <= c'9' or byte == c'_'


# ---- the line of items ----

cdef struct Run:
    const unsigned char* path
    size_t total            # length of the whole path: what assertions look at
    const Item* items
    uint32_t count          # of items; also the state in which all of them have matched
    uint32_t* states        # those reached at the current position, ascending
    size_t used
    uint32_t beyond         # one more than the last state looked at


cdef bint holds(const Run* run, uint32_t kind, size_t position) noexcept nogil:
    """Is this zero-width assertion true at `position`?"""
    cdef bint before, after
    if kind == ITEM_BEGIN:
        return position == 0
    if kind == ITEM_END:
        return position == run.total
    before = position > 0 and is_word(run.path[position - 1])
    after = position < run.total and is_word(run.path[position])
    return (before != after) == (kind == ITEM_WORD)


cdef inline void enter(Run* run, uint32_t state, size_t position) noexcept nogil:
    """Adds `state` and all that it reaches without reading a rune.

    What a state reaches is an unbroken run of states after it, and callers come with ascending states,
    so one number, `beyond`, tells what is in the list already.
    """
    cdef uint32_t kind
    if state < run.beyond:
        return
    while True:
        if state == run.count:
            run.states[run.used] = state
            run.used += 1
            run.beyond = state + 1
            return
        kind = run.items[state].kind
        if kind <= ITEM_MAYBE or kind == ITEM_RUN:
            run.states[run.used] = state
            run.used += 1
            run.beyond = state + 1
            if kind != ITEM_STAR and kind != ITEM_MAYBE:
                return
            state += 1
        elif kind == ITEM_SKIP:
            run.states[run.used] = state + 1
            run.used += 1
            run.beyond = state + 2
            state += 2
        else:
            run.beyond = state + 1
            if not holds(run, kind, position):
                return
            state += 1


cdef bint match_items(
    const Matcher* matcher, const Line* line, const unsigned char* path, size_t begin, size_t end, size_t total
) noexcept nogil:
    """Do the items match path[begin:end], or with to_end off some start of it?"""
    cdef Run run
    cdef uint32_t* states = matcher.scratch
    cdef uint32_t* following = matcher.scratch + matcher.stride
    cdef size_t used, index, width, position = begin
    cdef uint32_t rune, state
    cdef const Item* item
    run.path = path
    run.total = total
    run.items = line.items
    run.count = line.item_count
    run.states = states
    run.used = 0
    run.beyond = 0
    enter(&run, 0, position)
    while True:
        used = run.used
        if used == 0:
            return False
        if states[used - 1] == run.count and not line.to_end:
            return True
        if position >= end:
            return states[used - 1] == run.count
        rune = next_rune(path + position, end - position, &width)
        position += width
        run.states = following
        run.used = 0
        run.beyond = 0
        for index in range(used):
            state = states[index]
            if state == run.count:
                break
            item = run.items + state
            if item.kind == ITEM_RUNE:
                if rune == item.argument:
                    enter(&run, state + 1, position)
            elif item.kind == ITEM_SET or item.kind == ITEM_MAYBE:
                if in_set(matcher, matcher.sets + item.argument, rune):
                    enter(&run, state + 1, position)
            elif item.kind == ITEM_STAR:
                if in_set(matcher, matcher.sets + item.argument, rune):
                    enter(&run, state, position)
            else:
                if rune != c'\n':
                    enter(&run, state, position)
                if rune == c'/':
                    enter(&run, state + 1, position)
        following = states
        states = run.states


cdef inline bint match_line(
    const Matcher* matcher, const Line* line, const unsigned char* path, size_t length
) noexcept nogil:
    """Does this alternative match? Looks at the ends of the path first: most paths fail there."""
    cdef size_t size = line.tail_length
    cdef unsigned char last
    if length < line.head_length + size:
        return False
    if size:
        if path[length - 1] != line.tail[size - 1]:
            return False
        if memcmp(path + length - size, line.tail, size):
            return False
    elif line.last_set >= 0:
        if length == 0:
            return False
        last = path[length - 1]
        if last < 128 and not ascii_in_set(matcher.sets + line.last_set, last):
            return False
    if line.head_length and memcmp(path, line.head, line.head_length):
        return False
    return match_items(matcher, line, path, line.head_length, length - size, length)


cdef inline bint match_one(
    const Matcher* matcher, const Pattern* pattern, const unsigned char* path, size_t length
) noexcept nogil:
    """Does this pattern, its `!` aside, match exactly this path?"""
    cdef size_t size = pattern.needle_length
    cdef uint32_t number
    if pattern.mode == MODE_REGEXP:
        for number in range(pattern.line_count):
            if match_line(matcher, pattern.lines + number, path, length):
                return True
        return False
    if pattern.mode == MODE_EXACT:
        return length == size and memcmp(path, pattern.needle, size) == 0
    if pattern.mode == MODE_PREFIX:
        return length >= size and memcmp(path, pattern.needle, size) == 0
    if size == 0:
        return True
    if length >= size:
        return path[length - 1] == pattern.needle[size - 1] and (
            memcmp(path + length - size, pattern.needle, size) == 0)
    return pattern.needle[0] == c'/' and length == size - 1 and memcmp(path, pattern.needle + 1, length) == 0


# ---- what the walk calls ----

cdef bint match_path(
    Matcher* matcher, const char* path, size_t length, const unsigned char* parent, unsigned char* result
) noexcept nogil:
    cdef const unsigned char* text = <const unsigned char*>path
    cdef const Pattern* pattern
    cdef bint matched = False, hit
    cdef size_t index, ancestor
    for index in range(matcher.count):
        pattern = matcher.patterns + index
        hit = parent != NULL and parent[index] != 0
        if not hit and pattern.negated == matched:
            hit = match_one(matcher, pattern, text, length)
            if not hit and parent == NULL:
                for ancestor in range(length):
                    if text[ancestor] == c'/' and match_one(matcher, pattern, text, ancestor):
                        hit = True
                        break
        result[index] = hit
        if hit:
            matched = not pattern.negated
    return matched


cdef bint leads_to(const Pattern* pattern, const unsigned char* path, size_t length) noexcept nogil:
    """Is this directory the bare text of the pattern or an ancestor of it?"""
    if pattern.bare_length < length or memcmp(pattern.bare, path, length):
        return False
    return pattern.bare_length == length or pattern.bare[length] == c'/'


cdef bint prunes(const Matcher* matcher, const char* path, size_t length, bint negated) noexcept nogil:
    cdef size_t index
    for index in range(matcher.count):
        if matcher.patterns[index].negated == negated:
            if leads_to(matcher.patterns + index, <const unsigned char*>path, length):
                return False
    return True


cdef bint match_prunes_unmatched(const Matcher* matcher, const char* path, size_t length) noexcept nogil:
    return not matcher.includes_glob and prunes(matcher, path, length, False)


cdef bint match_prunes_matched(const Matcher* matcher, const char* path, size_t length) noexcept nogil:
    return not matcher.exceptions_glob and prunes(matcher, path, length, True)


# ---- building ----

cdef void* allocate(size_t count, size_t size) except NULL:
    """Zeroed memory for `count` elements, at least one."""
    cdef void* memory
    if count == 0:
        count = 1
    if count > SIZE_MAX // 2 // size:
        raise MemoryError
    memory = PyMem_Calloc(count, size)
    if memory == NULL:
        raise MemoryError
    return memory


cdef size_t add_size(size_t total, Py_ssize_t more, size_t limit, str what) except? 0:
    if more < 0 or total > limit or <size_t>more > limit - total:
        raise ValueError(f"too many {what} in a pattern list (at most {limit})")
    return total + <size_t>more


cdef size_t add_bytes(size_t total, bytes text) except? 0:
    if text is None:
        raise TypeError("expected bytes")
    return add_size(total, len(text), SIZE_MAX // 4, "bytes")


cdef unsigned char* keep(
    unsigned char* text, bytes data, const unsigned char** where, size_t* length
) except NULL:
    """Copies `data` to `text`, says where it went, returns the place behind it."""
    length[0] = <size_t>len(data)
    where[0] = text
    memcpy(text, <const char*>data, length[0])
    return text + length[0]


cdef int fill_sets(Matcher* matcher, tuple sets) except -1:
    """Turns the rune ranges into bitmaps and what lies above them."""
    cdef tuple bounds
    cdef RuneSet* runes
    cdef uint32_t low, high, rune, used = 0
    cdef size_t number, index
    cdef int64_t before
    for number in range(<size_t>len(sets)):
        bounds = sets[number]
        runes = matcher.sets + number
        runes.first = used
        before = -1
        for index in range(0, <size_t>len(bounds), 2):
            low, high = bounds[index], bounds[index + 1]
            if low <= before or high < low or high > MAX_RUNE:
                raise ValueError("the ranges of a class must be sorted and disjoint")
            before = high
            for rune in range(low, min(high, 127) + 1):
                runes.ascii[rune >> 6] |= <uint64_t>1 << (rune & 63)
            if high > 127:
                matcher.ranges[used].low = max(low, 128)
                matcher.ranges[used].high = high
                used += 1
        runes.ranges = used - runes.first
    return 0


cdef Item* fill_line(Line* line, tuple entry, Item* item, unsigned char** text, uint32_t sets) except NULL:
    """Copies one alternative; returns the place behind its items."""
    cdef tuple items = entry[3]
    cdef size_t index, count = <size_t>len(items)
    text[0] = keep(text[0], entry[0], &line.head, &line.head_length)
    text[0] = keep(text[0], entry[1], &line.tail, &line.tail_length)
    line.to_end = bool(entry[2])
    if line.tail_length and not line.to_end:
        raise ValueError("a tail needs a match that reaches the end")
    line.items = item
    line.item_count = <uint32_t>count
    line.last_set = -1
    for index in range(count):
        item.kind, item.argument = items[index]
        if item.kind > ITEM_NOT_WORD:
            raise ValueError("unknown item kind")
        if item.kind in (ITEM_SET, ITEM_STAR, ITEM_MAYBE) and item.argument >= sets:
            raise ValueError("an item names a class that is not there")
        if item.kind == ITEM_SKIP and (index + 1 >= count or items[index + 1][0] != ITEM_RUN):
            raise ValueError("a choice must be followed by what it chooses")
        item += 1
    if line.to_end and count and (item - 1).kind == ITEM_SET:
        line.last_set = <int32_t>(item - 1).argument
    return item


cdef int fill_patterns(Matcher* matcher, tuple patterns, uint32_t sets) except -1:
    """Copies every pattern; `count` grows last, when all of them are sound."""
    cdef tuple entry, lines, one
    cdef Pattern* pattern
    cdef Line* line = matcher.lines
    cdef Item* item = matcher.items
    cdef unsigned char* text = matcher.text
    cdef size_t number
    cdef bint glob
    for number in range(<size_t>len(patterns)):
        entry = patterns[number]
        pattern = matcher.patterns + number
        if entry[0] not in (MODE_EXACT, MODE_PREFIX, MODE_SUFFIX, MODE_REGEXP):
            raise ValueError("unknown pattern mode")
        pattern.mode = entry[0]
        pattern.negated = bool(entry[1])
        glob = entry[4]
        if pattern.negated:
            matcher.exceptions_glob |= glob
        else:
            matcher.includes_glob |= glob
        text = keep(text, entry[2], &pattern.needle, &pattern.needle_length)
        text = keep(text, entry[3], &pattern.bare, &pattern.bare_length)
        lines = entry[5]
        pattern.lines = line
        pattern.line_count = <uint32_t>len(lines)
        for one in lines:
            item = fill_line(line, one, item, &text, sets)
            line += 1
    matcher.count = <size_t>len(patterns)
    return 0


cdef class PatternList:
    """A compiled pattern list. Made by tarcast.patterns.compile_patterns, used by the walk."""

    def __cinit__(self, tuple compiled not None):
        cdef tuple sets, patterns, entry, lines, line, items, bounds
        cdef size_t ranges = 0, line_total = 0, item_total = 0, bytes_total = 0, longest = 0
        if len(compiled) != 2:
            raise ValueError("expected (sets, patterns)")
        sets, patterns = compiled
        if sets is None or patterns is None:
            raise TypeError("expected two tuples")
        add_size(0, len(sets), MAX_SETS, "classes")
        add_size(0, len(patterns), MAX_PATTERNS, "patterns")
        for bounds in sets:
            if bounds is None or len(bounds) % 2:
                raise ValueError("a class needs pairs of runes")
            ranges = add_size(ranges, len(bounds) // 2, MAX_RANGES, "rune ranges")
        for entry in patterns:
            if entry is None or len(entry) != 6:
                raise ValueError("a pattern needs six fields")
            bytes_total = add_bytes(bytes_total, entry[2])
            bytes_total = add_bytes(bytes_total, entry[3])
            lines = entry[5]
            if lines is None:
                raise TypeError("expected a tuple of alternatives")
            line_total = add_size(line_total, len(lines), MAX_LINES, "alternatives")
            for line in lines:
                if line is None or len(line) != 4:
                    raise ValueError("an alternative needs four fields")
                bytes_total = add_bytes(bytes_total, line[0])
                bytes_total = add_bytes(bytes_total, line[1])
                items = line[3]
                if items is None:
                    raise TypeError("expected a tuple of items")
                longest = max(longest, add_size(0, len(items), MAX_ITEMS, "items"))
                item_total = add_size(item_total, len(items), SIZE_MAX // 4, "items")
        self.matcher.stride = longest + 1
        self.matcher.scratch = <uint32_t*>allocate(2 * self.matcher.stride, sizeof(uint32_t))
        self.matcher.text = <unsigned char*>allocate(bytes_total, 1)
        self.matcher.ranges = <RuneRange*>allocate(ranges, sizeof(RuneRange))
        self.matcher.sets = <RuneSet*>allocate(<size_t>len(sets), sizeof(RuneSet))
        self.matcher.items = <Item*>allocate(item_total, sizeof(Item))
        self.matcher.lines = <Line*>allocate(line_total, sizeof(Line))
        self.matcher.patterns = <Pattern*>allocate(<size_t>len(patterns), sizeof(Pattern))
        fill_sets(&self.matcher, sets)
        fill_patterns(&self.matcher, patterns, <uint32_t>len(sets))

    def __dealloc__(self):
        PyMem_Free(self.matcher.patterns)
        PyMem_Free(self.matcher.lines)
        PyMem_Free(self.matcher.items)
        PyMem_Free(self.matcher.sets)
        PyMem_Free(self.matcher.ranges)
        PyMem_Free(self.matcher.text)
        PyMem_Free(self.matcher.scratch)

    @property
    def count(self) -> int:
        """Number of patterns."""
        return self.matcher.count

    def matches(self, bytes path not None) -> bool:
        """Does the list select `path`, looked at without its ancestors' results?"""
        return self.evaluate(path, None)[0]

    def evaluate(self, bytes path not None, bytes parent=None) -> tuple[bool, bytes]:
        """What the walk does for `path`: (matched, results for its children). `parent`: its directory's."""
        cdef bytearray result = bytearray(self.matcher.count)
        cdef const unsigned char* above = NULL
        cdef bint matched
        if parent is not None:
            if <size_t>len(parent) != self.matcher.count:
                raise ValueError("parent results of another list")
            above = parent
        matched = match_path(&self.matcher, path, <size_t>len(path), above, <unsigned char*><char*>result)
        return matched, bytes(result)

    def prunes_unmatched(self, bytes path not None) -> bool:
        """As an include list: may the children of this unmatched directory be skipped?"""
        return match_prunes_unmatched(&self.matcher, path, <size_t>len(path))

    def prunes_matched(self, bytes path not None) -> bool:
        """As an exclude list: may the children of this matched directory be skipped?"""
        return match_prunes_matched(&self.matcher, path, <size_t>len(path))
