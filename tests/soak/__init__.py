"""Services under load whose workers and sidecars are killed at random, and the truth beside what the sidecars say.

`make soak` runs it for ten minutes, `make check` for two: SOAK_SECONDS is for how long.
"""
