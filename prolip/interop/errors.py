"""What goes wrong with checkpoints from elsewhere."""


class SourceError(ValueError):
    """A source of a model that can't be used; the message says which and why."""
