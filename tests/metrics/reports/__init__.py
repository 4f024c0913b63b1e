"""The reports of processes, and the same as JSON."""
