"""The running program: composition root, supervisor, reload, privileges, service manager."""
