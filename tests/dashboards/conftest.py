"""Grafana's types need Python 3.11; before, what is checked with them is left out. No board is in the package."""

import sys

collect_ignore = ["test_boards.py", "test_generated.py", "test_shares.py"] if sys.version_info < (3, 11) else []
