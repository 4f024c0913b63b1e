"""Benchmarks of the budgets in docs/explanation/overhead.md, with the alternatives for comparison.

Run them by `make bench`; `python -m tests.bench --help` has the options.

Everything that is compared is measured in one run, in turns, each variant in a process of its own: no variant's
imports, patched classes or specialised bytecode can change another's speed. The tests here are of the report alone.
"""
