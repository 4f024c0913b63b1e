"""OpenTelemetry: a snapshot as metrics, and spans of slow acquires.

At run time, only this wing, the instrumentor and the demo use opentelemetry; `runtime.argument_checks` imports it
to find out whether it is installed.
"""
