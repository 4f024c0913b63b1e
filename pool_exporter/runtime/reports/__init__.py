"""What this process says about its own pools: their holders, waiters and verdicts, for its pages and for its file.

Rules: nothing here may change a pool, keep a report of the watchdog, or raise into the application.
"""
