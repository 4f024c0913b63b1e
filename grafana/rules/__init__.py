"""Recording rules and alerts, from the same catalogue and the same questions as the boards."""
