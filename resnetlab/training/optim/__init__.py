"""One step of training: loss, optimiser, learning rate, averaged weights."""
