"""Trio I/O for all front ends: addresses, listening, the accept loop with its express lane, closing, limits."""
