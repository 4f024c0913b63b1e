"""The server behind `pool-exporter serve`. Imports SQLAlchemy only when a probe is configured."""
