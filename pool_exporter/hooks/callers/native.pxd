"""The functions of native.py."""

cdef extern from *:
    """
    static CYTHON_INLINE PyObject *pool_exporter_frame(PyObject *but_of) {
        PyObject *frame;
        /* The names of a frame's module are known without a frame object, which takes longest of all that is here. */
        if (PyEval_GetGlobals() == but_of) {
            Py_RETURN_NONE;
        }
        frame = (PyObject *)PyEval_GetFrame();
        if (frame == NULL) {
            PyErr_SetString(PyExc_ValueError, "no Python function has called this");
        }
        Py_XINCREF(frame);
        return frame;
    }

    static CYTHON_INLINE int pool_exporter_is_this_thread(PyObject *ident) {
        unsigned long found;
        if (!PyLong_Check(ident)) {
            return 0;
        }
        found = PyLong_AsUnsignedLong(ident);
        if (found == (unsigned long)-1 && PyErr_Occurred()) {
            PyErr_Clear();
            return 0;
        }
        return found == PyThread_get_thread_ident();
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
    object pool_exporter_frame(object but_of)
    bint pool_exporter_is_this_thread(object ident)
    object pool_exporter_reference(object to)
    object pool_exporter_value_of(object variable)

cdef class Native:
    cdef inline object frame(self, object but_of):
        return pool_exporter_frame(but_of)

    cdef inline bint runs_here(self, object loop) except -1:
        return pool_exporter_is_this_thread(loop._thread_id)

    cdef inline object reference(self, object to):
        return pool_exporter_reference(to)

    cdef inline object value_of(self, object variable):
        return pool_exporter_value_of(variable)
