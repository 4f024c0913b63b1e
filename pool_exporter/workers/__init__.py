"""The shared directory: file format, writer, reader, compaction. No SQLAlchemy, HTTP or OpenTelemetry."""
