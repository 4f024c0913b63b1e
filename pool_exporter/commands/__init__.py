"""The command line: one module for each subcommand, with its arguments, and its output where it prints one."""
