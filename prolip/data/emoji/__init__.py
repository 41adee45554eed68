"""The data set that the package ships."""
