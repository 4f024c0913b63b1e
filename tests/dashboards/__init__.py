"""The boards and rules: what is committed is generated, what they ask exists, and Grafana's linter is content."""
