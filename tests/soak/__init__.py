"""Services under load whose workers and sidecars are killed at random, and the truth beside what the sidecars say.

`make soak` runs it for SOAK_SECONDS, the tests for a short while; SOAK_SECONDS says how long.
"""
