# What a running export and the rest of the process share: counters, cancel, the regular look at signals.
#
# The export owns the struct. Counters are atomic, any thread may read them and
# set `cancelled`. `tick` takes the GIL itself; only the thread that called
# `run` may ask control_stops, since only there signals and callables make
# sense. Others ask control_cancelled.

from libc.stdint cimport int64_t, uint64_t

from tarcast._core.posix cimport tc_coarse_now, tc_observe

cdef enum:
    TICK_MS = 40        # how often signals are looked at; Ctrl-C must be honoured within 100 ms


cdef struct Control:
    uint64_t cancelled          # by the user, from any thread
    uint64_t abandoned          # by whichever worker, or since a callable raised: nothing more is wanted
    uint64_t no_memory          # for something that ended the export, perhaps even for the note that says so
    uint64_t entries            # headers written
    uint64_t bytes_written      # bytes that the sink has taken
    uint64_t cloned             # of these, that share blocks with the files they are from
    uint64_t skipped            # entries left out or cut because of an error that was to be skipped
    uint64_t dropped            # entries left out by an id map or a map callable
    int64_t next_tick           # nanoseconds of tc_coarse_now
    bint (*tick)(void* owner) noexcept nogil    # True: stop, an exception is kept by the owner, who set `abandoned`
    void* owner                 # borrowed; outlives the run
    void (*pace)(void* pacer) noexcept nogil    # may be NULL; called before each tick, without the GIL
    void* pacer                 # borrowed, as long as `pace` is set


cdef inline bint control_cancelled(Control* control) noexcept nogil:
    return tc_observe(&control.cancelled) != 0 or tc_observe(&control.abandoned) != 0


cdef inline bint control_stops(Control* control) noexcept nogil:
    """Cheap enough to ask after every entry. True: unwind now."""
    cdef int64_t now
    if control_cancelled(control):
        return True
    now = tc_coarse_now()
    if now < control.next_tick:
        return False
    control.next_tick = now + <int64_t>TICK_MS * 1000000
    if control.pace != NULL:
        control.pace(control.pacer)
    return control.tick(control.owner)
