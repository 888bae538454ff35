"""The front ends. Each uses the service only; none imports another."""
