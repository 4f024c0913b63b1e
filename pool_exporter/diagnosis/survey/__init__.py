"""Makes an `Examination` of a pool's state and the stacks of its process: what holds and what waits, as values.

Nothing here may decide a verdict, change a pool, or keep an object of the application after the report.
"""
