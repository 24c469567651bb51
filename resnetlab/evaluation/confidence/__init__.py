"""What a probability is worth: calibration, answers only when sure, sets of classes with a promise."""
