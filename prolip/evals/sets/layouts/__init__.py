"""The forms in which evaluation sets are distributed; each file reads one into a listing."""
