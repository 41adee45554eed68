"""One file for each named study."""
