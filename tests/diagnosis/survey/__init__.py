"""From a pool's state to the evidence, with a clock that the test sets and owners of its own."""
