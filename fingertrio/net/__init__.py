"""Trio I/O that front ends share: binding, accept loops and the express lane, line reading, limits."""
