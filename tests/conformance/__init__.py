"""SQLAlchemy's own tests, with every pool watched: what passes without us passes with us.

    python -m tests.conformance          its tests of the pool, half a minute
    python -m tests.conformance --all    those of engines, events, sessions and asyncio as well, five minutes

The tests are those of the installed version. They are downloaded as its source distribution when they are needed, run
unchanged, and not part of this repository. `plugin.py` watches, `__main__.py` compares.
"""
