"""The C types of pool_binding.py."""

from pool_exporter.state.pool_state cimport PoolState

cdef class PoolBinding:
    cdef public object hooks
    cdef public PoolState state
    cdef public object is_async
    cdef public object patch
