"""OpenTelemetry: a snapshot as metrics, and spans of slow acquires.

At run time, only this wing, the instrumentor and the demo import opentelemetry.
"""
