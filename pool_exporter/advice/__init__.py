"""How large a pool should be, whether all pools fit their server, and what is wrong in the configuration.

Pure functions of numbers, and of an engine for its configuration. Nothing here may read a file, a socket or a clock, or
change anything.
"""
