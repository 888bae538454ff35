"""Talking to others: other finger servers, other XML-RPC services. Used by the CLI and by remote backends."""
