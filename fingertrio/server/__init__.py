"""The running program: the composition root, the supervisor, reload, privileges and the service manager."""
