"""Faults that were found in other monitors of pools: for each, the statement that is true of this package.

A test names its statement, B-1 to B-38; the numbers are those of the issue that began this package. Statements that
need a real server, a second process or HTTP are tested with those, under the same numbers.
"""
