"""Ready evaluation sets: read from the files as they are distributed, counted, and measured."""
