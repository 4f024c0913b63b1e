"""The C types of checkout_patches.py."""

cimport cython

from pool_exporter.hooks.pool_binding cimport PoolBinding
from pool_exporter.state.connection cimport Connection
from pool_exporter.state.pool_state cimport PoolState

cdef long long UNLIMITED
