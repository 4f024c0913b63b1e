"""SQLAlchemy's own tests, with every pool instrumented: what passes without this package passes with it.

    python -m tests.conformance                       its tests of engines, pools, events and asyncio, on two drivers
    python -m tests.conformance test/orm/test_session.py    other files of its suite

The tests are those of the installed version. They are downloaded as its source distribution when they are needed, run
unchanged, and not part of this repository. `plugin.py` instruments, `__main__.py` compares.
"""
