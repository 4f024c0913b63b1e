"""The boards and the rules: what is committed is what is generated, what they ask exists, and Grafana's linter is content."""
