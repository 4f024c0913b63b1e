"""The C types of place.py."""

cimport cython

from pool_exporter.hooks.callers.frames cimport CodeType, FrameType

cdef object _APPLICATION, _LIBRARY, _LOOP, _SQLALCHEMY, _STANDARD, _RUN_HANDLE
cdef dict _KNOWN
cdef int _NEAR_MAX, _FIRST_DEPTH

cdef class _Greenlets:
    cdef readonly object getcurrent

cdef _Greenlets _greenlets

@cython.locals(frame=FrameType)
cpdef FrameType awaiting_frame()

cdef class PlaceRecorder:
    cdef readonly object _mode
    cdef public bint is_on
    cdef readonly double _armed_until
    cdef readonly list _depths
    cdef readonly dict is_application
    cdef readonly set pairs_without_second

    @cython.locals(frame=FrameType, edge=FrameType)
    cdef FrameType first(self)

    @cython.locals(depth=int, edge=int)
    cdef FrameType _learn(self, FrameType back)

    @cython.locals(frame=FrameType)
    cdef tuple behind_library(self, FrameType frame, CodeType code, CodeType caller)

cdef FrameType _near(FrameType frame)
