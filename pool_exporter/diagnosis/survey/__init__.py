"""From the state of a pool and the stacks of its process to an `Examination`: what holds and what waits, in values.

Nothing here may decide a verdict, change a pool, or keep an object of the application after the report.
"""
