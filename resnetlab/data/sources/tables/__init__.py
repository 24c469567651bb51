"""Label tables: which row means which image, and what it says about it."""
