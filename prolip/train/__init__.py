"""Training: pure step, and the loop around it that does I/O and keeps time."""
