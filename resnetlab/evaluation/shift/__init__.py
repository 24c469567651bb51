"""Distribution shift: images unlike the training images, one by one and as a whole."""
