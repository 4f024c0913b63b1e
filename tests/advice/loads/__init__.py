"""Tests of the loads of all pools of a source."""
