"""OpenTelemetry: a snapshot as metrics, and spans of slow acquires.

Besides this wing, the instrumentor and the demo import opentelemetry at run time, and `runtime.argument_checks` does to
find out whether it is installed. Reports use what the application has imported of it
(`runtime.watchdog.opentelemetry_events`, `diagnosis.survey.span_names`).
"""
