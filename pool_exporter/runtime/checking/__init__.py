"""`check()`: what is wrong in the configuration of an engine of this process."""
