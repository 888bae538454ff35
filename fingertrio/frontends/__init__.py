"""The doors. Each asks the service and nobody else; none knows another."""
