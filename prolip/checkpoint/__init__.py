"""Checkpoints that are verified before any use; see `CheckpointStore`."""

from prolip.checkpoint.errors import CheckpointError, Damage, LeaseHeld, LeaseLost
from prolip.checkpoint.store import CheckpointStore

__all__ = ["CheckpointError", "CheckpointStore", "Damage", "LeaseHeld", "LeaseLost"]
