"""What fingertrio costs, measured beside its peers: `make bench`."""
