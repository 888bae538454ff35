"""The parts of the server, each in a room of its own. finger18.py says which room may import which."""
