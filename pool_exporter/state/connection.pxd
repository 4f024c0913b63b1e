"""The C types of connection.py."""

cdef class Connection:
    cdef object __weakref__
    cdef public object pool
    cdef public int state
    cdef public long long since
    cdef readonly Py_ssize_t slot
    cdef public object checkout
    cdef public bint is_returning
    cdef public bint is_lost
    cdef public tuple caller
    cdef public object record
    cdef public object identity
    cdef public object close_reason
