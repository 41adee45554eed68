"""The real train step, compiled ahead of time for accelerators that this machine doesn't have."""
