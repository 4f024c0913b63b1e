"""The watchdog: one thread a process that examines a pool while callers wait for it, and what a report leads to.

Rules: nothing here raises into the application or blocks it. A caller that times out makes a report itself only if
none is true of the present holders, and waits for another one that is being made for 50 ms at most. Nothing here keeps
a pool, engine, connection, task or event loop alive. Without waiting callers, leaks and failures to open, the thread
sleeps.
"""
