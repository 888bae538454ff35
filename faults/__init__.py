"""What is done to a running program to take it down, and the figures of how it stood that (`make faults`)."""
