"""The status page, as HTML that needs no other file: a pure function of the state of all pools.

It works without its script, which only refreshes it in place. Every value that is not from this folder is escaped.
Nothing here may compute with metrics, contain a metric's name, or decide what may be seen.
"""
