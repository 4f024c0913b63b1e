"""The C types of checkout_patches.py."""

cimport cython

cdef extern from *:
    """
    /* Cython would add each function of this module that an exception passes to the application's traceback. */
    #define PyTraceBack_Here(frame) ((void)(frame), 0)
    """

from pool_exporter.hooks.pool_binding cimport PoolBinding
from pool_exporter.state.connection cimport Connection
from pool_exporter.state.pool_state cimport PoolState

cdef long long UNLIMITED
