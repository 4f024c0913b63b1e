"""`pool-exporter top` without its arguments: where the states come from, what is on the screen, and the keys.

What is on the screen is a pure function of the states, the view and the size of the terminal.
"""
