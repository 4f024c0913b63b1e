"""The C types of waiting.py."""

cimport cython

from pool_exporter.hooks.callers.frames cimport CodeType, FrameType
from pool_exporter.hooks.callers.native cimport Native
from pool_exporter.hooks.callers.place cimport PlaceRecorder, awaiting_frame

cdef PlaceRecorder recorder
cdef Native native
cdef bint IS_COMPILED
cdef dict loops_with_tasks
cdef int _CALLER_DEPTH

@cython.locals(frame=FrameType, back=FrameType, code=CodeType, caller=CodeType)
cpdef tuple current_caller(object unit, object threads)
