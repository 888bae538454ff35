"""The backends that come with fingertrio, each found by its name in the entry-point group `fingertrio.backends`."""
