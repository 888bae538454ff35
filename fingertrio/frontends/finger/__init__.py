"""The finger front end (RFC 1288)."""
