"""Our front ends as everybody's are (`fingertrio.frontend`): each file has the function that one entry point names.

They stand between the configuration, which front ends do not know, and the front ends, which the configuration does not
know. Each is a module of its own, so that only what is configured is imported: a finger server need not load a web
framework. `opening` is for all of them, and for other people's.
"""
