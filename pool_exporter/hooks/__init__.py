"""The patches of SQLAlchemy's methods, and what they report to the state machine.

No Exception of the package reaches the application from a patched method.
"""
