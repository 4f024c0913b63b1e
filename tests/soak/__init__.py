"""Services under load, with workers and sidecars killed at random; the truth is compared with the sidecars' numbers.

`make soak` runs it for ten minutes, `make check` for two: SOAK_SECONDS is for how long. SOAK_BUSY_LOOPS is how many
processes meanwhile do nothing but use a processor.

`servers` has the services with workers that are killed, `applications` what runs in them. `healthy` is an application
that is never killed, and uses its pools as a healthy service does: nothing may be reported of it. `readings` has what
the sidecars show, and `alerts` what a Prometheus with this project's rules says of it.
"""
