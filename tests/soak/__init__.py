"""Services under load, with workers and sidecars killed at random; the truth is compared with the sidecars' numbers.

`make soak` runs it for ten minutes, `make check` for two: SOAK_SECONDS is for how long.
"""
