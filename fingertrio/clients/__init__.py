"""Clients of other servers: finger, setter, XML-RPC, the live feed. Used by the CLI and by remote backends."""
