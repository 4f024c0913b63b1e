"""A snapshot as OpenTelemetry metrics, logs and spans. Only this wing and the instrumentor import opentelemetry."""
