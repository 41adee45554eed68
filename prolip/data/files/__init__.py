"""Files of records as they lie on a disk: tars, tables, folders; nothing here knows a caption."""
