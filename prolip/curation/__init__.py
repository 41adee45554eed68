"""An embedded data set: how many of its pairs are missing, and which of them to keep."""
