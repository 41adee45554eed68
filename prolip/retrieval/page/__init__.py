"""The local page of a collection: `serve` starts it."""
