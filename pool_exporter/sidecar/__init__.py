"""The server behind `pool-exporter serve`. It imports SQLAlchemy only if a probe is configured."""
