"""Faults that were found in other monitors of pools: for each, the statement that is true of this package.

Statements that need a real server, a second process or HTTP are tested with those.
"""
