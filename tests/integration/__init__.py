"""Pools on real servers; the server is the oracle."""
