"""OpenTelemetry: a snapshot as metrics, and spans of slow acquires.

At run time, only this wing and the instrumentor import opentelemetry.
"""
