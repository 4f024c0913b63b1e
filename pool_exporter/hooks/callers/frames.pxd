"""Python's frames and codes, read without a look-up of each attribute by its name.

`types.FrameType` and `types.CodeType` are the same classes; a compiled module that has them from here reads the
attributes below through C.
"""

cdef extern from *:
    """
    #include "frameobject.h"

    static CYTHON_INLINE PyObject *pool_exporter_f_code(PyObject *frame) {
        return (PyObject *)PyFrame_GetCode((PyFrameObject *)frame);
    }

    static CYTHON_INLINE PyObject *pool_exporter_f_back(PyObject *frame) {
        PyObject *back = (PyObject *)PyFrame_GetBack((PyFrameObject *)frame);
        if (back == NULL) {
            Py_RETURN_NONE;
        }
        return back;
    }

    static CYTHON_INLINE int pool_exporter_f_lasti(PyObject *frame) {
    #if PY_VERSION_HEX >= 0x030b0000
        return PyFrame_GetLasti((PyFrameObject *)frame);
    #else
        int at = ((PyFrameObject *)frame)->f_lasti;
        return at < 0 ? -1 : at * 2;
    #endif
    }
    """
    object pool_exporter_f_code(object frame)
    object pool_exporter_f_back(object frame)
    int pool_exporter_f_lasti(object frame)

    ctypedef class types.CodeType [object PyCodeObject, check_size ignore]:
        cdef object co_filename
        cdef object co_name

    ctypedef class types.FrameType [object PyObject, check_size ignore]:
        @property
        cdef inline CodeType f_code(self):
            return <CodeType>pool_exporter_f_code(self)

        @property
        cdef inline FrameType f_back(self):
            return <FrameType>pool_exporter_f_back(self)

        @property
        cdef inline int f_lasti(self):
            return pool_exporter_f_lasti(self)
