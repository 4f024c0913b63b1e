"""The watchdog's parts, with a clock that the test sets."""
