"""What holds a pool's connections, what waits for them, why, and what to do.

Rules: everything here is a function of the values that it is given, and of the stacks and tasks of this process at the
moment of the call. Nothing here changes a pool, starts a thread, writes a log line or keeps a frame, task, thread or
connection of the application.
"""
