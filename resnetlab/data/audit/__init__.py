"""What is wrong with a data set: duplicates, conflicts, leaks, shortcuts, odd files."""
