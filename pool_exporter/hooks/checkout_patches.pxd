"""The C types of checkout_patches.py."""

cimport cython

cdef extern from *:
    """
    /* Cython would add each function of this module that an exception passes to the application's traceback. An
       exception that this module itself raises has no traceback yet, and Cython's `except` needs one. */
    static CYTHON_INLINE int pool_exporter_has_traceback(void) {
        PyThreadState *state = PyThreadState_Get();
    #if PY_VERSION_HEX >= 0x030c0000
        PyObject *error = state->current_exception;
        return error != NULL && ((PyBaseExceptionObject *)error)->traceback != NULL;
    #else
        return state->curexc_traceback != NULL;
    #endif
    }
    #define PyTraceBack_Here(frame) (pool_exporter_has_traceback() ? ((void)(frame), 0) : (PyTraceBack_Here)(frame))
    """

from pool_exporter.hooks.callers.native cimport Native
from pool_exporter.hooks.callers.waiting cimport current_caller
from pool_exporter.hooks.pool_binding cimport PoolBinding
from pool_exporter.state.connection cimport Connection
from pool_exporter.state.pool_state cimport PoolState

cdef long long UNLIMITED
cdef bint IS_COMPILED
cdef Native native
