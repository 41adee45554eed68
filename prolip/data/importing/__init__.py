"""Any source of records to a TFDS data set in ArrayRecord files."""
