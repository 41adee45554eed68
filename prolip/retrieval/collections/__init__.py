"""What can be embedded: folders of images, tables, tars and TFDS data sets, as numbered items."""
