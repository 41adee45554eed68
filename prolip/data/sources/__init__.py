"""Where records come from: tars, tables, folders, TFDS, and mixtures of them, behind one class."""
