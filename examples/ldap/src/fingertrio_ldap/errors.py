"""What can go wrong between us and the directory. The messages are for the log."""


class DirectoryError(Exception):
    """The directory cannot be reached, or its answer is not one."""


class UnfitError(DirectoryError):
    """The directory does not take this value."""


class MissingEntryError(DirectoryError):
    """There is no entry of this name."""


class ExistingEntryError(DirectoryError):
    """There is an entry of this name already."""


class BrokenConnectionError(Exception):
    """The connection has ended, or what came over it was not LDAP."""
