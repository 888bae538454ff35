"""Logs and metrics: the observer, log lines, the log writer, counters. Knows no protocol and no backend."""
