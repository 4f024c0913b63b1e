"""The C types of pool_slots.py."""

cimport cython

from pool_exporter.state.connection cimport Connection

cdef extern from *:
    """
    #include <time.h>

    /* What Python's time.monotonic_ns() reads; -1 where it may read another clock. */
    static CYTHON_INLINE long long pool_exporter_monotonic_ns(void) {
    #ifdef __linux__
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (long long)now.tv_sec * 1000000000LL + now.tv_nsec;
    #else
        return -1;
    #endif
    }
    """
    long long pool_exporter_monotonic_ns() noexcept nogil

cdef class PoolSlots:
    cdef object __weakref__
    cdef public object clock
    cdef public dict connections
    cdef public object sentinel
    cdef public object before_event
    cdef public object before_refresh
    cdef public object slots
    cdef long long[::1] view
    cdef public object slow_acquire
    cdef public object unit_uses
    cdef public object waiters
    cdef public object flow
    cdef public object report_hooks
    cdef public object is_nested
    cdef public dict waiting
    cdef public long long origin
    cdef public long long limit
    cdef public long long pool_limit
    cdef public long long used
    cdef public long long used_peak
    cdef public long long pending
    cdef public long long pending_peak
    cdef public long long used_in_old_pool
    cdef public long long window_end
    cdef readonly bytearray _free_checkout_slots
    cdef readonly list _free_pending_slots
    cdef readonly object _clock
    cdef long long[::1] _bounds

    cdef inline long long _now(self) except? -1:
        cdef long long now = pool_exporter_monotonic_ns()
        return self.clock() if now < 0 else now

    cdef inline Py_ssize_t _bucket(self, long long duration) noexcept:
        cdef Py_ssize_t at = 0
        while at < self._bounds.shape[0] and duration > self._bounds[at]:
            at += 1
        return at

    cpdef _unit_returned(self, object unit, object use)
    cdef _clear_slot(self, Connection connection)
    cpdef _start_peak_window(self, long long now)
