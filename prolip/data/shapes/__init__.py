"""Drawn shapes whose captions are true, incomplete or wrong in known ways."""
