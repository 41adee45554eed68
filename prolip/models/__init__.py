"""Pixels or tokens to Gaussians."""
