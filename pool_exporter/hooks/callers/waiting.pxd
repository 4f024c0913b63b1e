"""The C types of waiting.py."""

cimport cython

from pool_exporter.hooks.callers.place cimport PlaceRecorder

cdef PlaceRecorder recorder
