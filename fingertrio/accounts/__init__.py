"""Who may write: tokens, peer credentials of Unix sockets, and the throttle for failed attempts.

A front end turns the proof that it received (a token, a socket's credentials) into a `Writer`; the service checks that
this writer may set the status of that user. No front end has rules of its own.
"""
