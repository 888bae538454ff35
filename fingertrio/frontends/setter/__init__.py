"""The setter front end: two lines, a user and a status."""
