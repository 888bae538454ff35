"""What the program says of itself: the observer, log lines, metrics. Knows no protocol and no backend."""
