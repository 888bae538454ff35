"""The web door: Quart, served by Hypercorn on Trio."""
