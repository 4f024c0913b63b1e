"""What holds a pool's connections, what waits for them, why, and what to do.

Rules: everything here is a function of the values and frames that it is given. Nothing here changes a pool, starts a
thread, writes a log line or keeps a frame, task, thread or connection of the application.
"""
