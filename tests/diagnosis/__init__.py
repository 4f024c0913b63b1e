"""The diagnosis: its values, its verdicts, its texts, and what it finds on real pools."""
