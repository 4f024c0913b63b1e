"""A snapshot as Prometheus text and pages over HTTP, for any source of snapshots."""
