"""The texts of a diagnosis: a pure function of an `Examination` and a verdict.

Nothing here may read a pool, a frame or a clock, or decide a verdict.
"""
