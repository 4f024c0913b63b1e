"""Tests of the wing `advice`."""
