"""Tests of `check()`."""
