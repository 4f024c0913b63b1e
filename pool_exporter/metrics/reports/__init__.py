"""The reports of processes, which only a shared directory, a page or a command needs; and the same as JSON."""
