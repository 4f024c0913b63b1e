"""The command line: one module a subcommand, its arguments and its output."""
