"""Collections: embed them in bulk, index and search them."""
