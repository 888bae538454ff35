"""A live read replica of another fingertrio, over its live feed: all statuses in memory, updated as they change there.

copy.py       the statuses, and the memory that they take
backend.py    follows the origin and answers from the copy
"""

from fingertrio.backends.mirror.backend import MirrorBackend, MirrorOptions, open_mirror

__all__ = ["MirrorBackend", "MirrorOptions", "open_mirror"]
