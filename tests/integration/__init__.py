"""Pools on real servers, where the server itself says what is true."""
