"""Benchmarks of DESIGN.md section 6, beside the alternatives: `make bench`, or `python -m tests.bench --help`.

Everything that is compared is measured in one run, in turns, each variant in a process of its own: no variant's
imports, patched classes or specialised bytecode can change another's speed. pytest collects nothing here.
"""
