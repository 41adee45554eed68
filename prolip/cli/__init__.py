"""Commands: one file a verb, none of them with logic of its own."""
