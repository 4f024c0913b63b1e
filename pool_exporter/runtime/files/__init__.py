"""The worker file of this process: whether it needs one, the thread that creates it, and the moves of slots into it.

Nothing here may instrument a pool.
"""
