"""The setter front end: sets a status from two lines, a user name and a status."""
