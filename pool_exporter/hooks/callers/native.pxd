"""The functions of native.py."""

cdef extern from *:
    """
    static CYTHON_INLINE PyObject *pool_exporter_frame(void) {
        PyObject *frame = (PyObject *)PyEval_GetFrame();
        if (frame == NULL) {
            PyErr_SetString(PyExc_ValueError, "no Python function has called this");
        }
        Py_XINCREF(frame);
        return frame;
    }

    static CYTHON_INLINE PyObject *pool_exporter_reference(PyObject *to) {
        return PyWeakref_NewRef(to, NULL);
    }

    static CYTHON_INLINE PyObject *pool_exporter_value_of(PyObject *variable) {
        PyObject *value;
        if (PyContextVar_Get(variable, Py_None, &value) < 0) {
            return NULL;
        }
        return value;
    }
    """
    object pool_exporter_frame()
    object pool_exporter_reference(object to)
    object pool_exporter_value_of(object variable)

cdef class Native:
    cdef inline object frame(self):
        return pool_exporter_frame()

    cdef inline object reference(self, object to):
        return pool_exporter_reference(to)

    cdef inline object value_of(self, object variable):
        return pool_exporter_value_of(variable)
