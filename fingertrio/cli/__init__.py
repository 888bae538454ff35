"""The command line. `main` starts with signals alone; the commands are imported after that."""
