"""One pool's numbers: slot layout, state machine, decoding, aggregation.

No SQLAlchemy, IO or thread; the clock is passed in.
"""
