"""Going on: with what was cut off, with a finished training made longer, from a finished run with more images."""
