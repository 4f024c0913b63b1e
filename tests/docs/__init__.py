"""The documentation: README.md and docs/. What is in it is generated from the code, run, or compared with the code."""
