"""From TFDS data sets to batches of images and tokens."""
