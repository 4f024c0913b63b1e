"""The C types of pool_state.py."""

cimport cython

from pool_exporter.state.connection cimport Connection
from pool_exporter.state.pool_slots cimport PoolSlots

cdef int IDLE, USED, USED_IN_OLD_POOL, DETACHED, CLOSED, IDLE_IN_OLD_POOL
cdef Py_ssize_t WAIT, WAIT_SUM, USE, USE_SUM
cdef long long FIRST_NS
cdef bint IS_COMPILED
cdef long long UNLIMITED
cdef tuple BUCKET, BOUND, NO_CALLER, STATE_AFTER_USE

cdef class PoolState(PoolSlots):
    @cython.locals(slots="long long[::1]", now="long long", pending="long long")
    cpdef object acquire_started(self, object unit=*)

    @cython.locals(
        slots="long long[::1]", clock="long long", now="long long", wait="long long", at="Py_ssize_t", _="Py_ssize_t", b="Py_ssize_t", index="long long",
        state=int, used="long long", held=list,
    )
    cpdef long long acquired(self, object token, Connection connection, object checkout, tuple caller=*, long long since=*)

    @cython.locals(slots="long long[::1]", now="long long", wait="long long")
    cpdef long long acquire_failed(self, object token, object error_type)

    @cython.locals(slots="long long[::1]")
    cpdef object acquire_abandoned(self, object token)

    cpdef object released(self, Connection connection)

    @cython.locals(
        slots="long long[::1]", clock="long long", use="long long", at="Py_ssize_t", _="Py_ssize_t", b="Py_ssize_t",
        state=int, used="long long", caller=tuple,
    )
    cpdef object returned(self, Connection connection, object checkout)

    @cython.locals(slots="long long[::1]")
    cpdef object detached(self, Connection connection)

    @cython.locals(slots="long long[::1]", state=int)
    cpdef object closed(self, Connection connection, object reason)
