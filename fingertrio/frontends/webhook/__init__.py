"""Sends a signed HTTP request to other servers whenever a status changes."""
