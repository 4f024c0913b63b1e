"""The output of the demo: `terminal` for people, `json_lines` for programs, with the same functions."""
