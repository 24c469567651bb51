"""What the folders of a data set mean: wrappers, splits, classes, labels in file names."""
