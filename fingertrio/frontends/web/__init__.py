"""The web front end: Quart, served by Hypercorn on Trio."""
