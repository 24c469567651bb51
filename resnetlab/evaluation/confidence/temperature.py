"""One number by which logits are divided, so that what is said with 80 % confidence holds in 8 of 10 cases.

The class that is named stays the same, whatever the temperature.
"""

import numpy as np
from scipy.special import softmax

from resnetlab.evaluation.predictions import Predictions

LIMITS = (0.05, 20.0)  # beyond, the images can't tell


def fit_temperature(predictions: Predictions) -> float:
    """Return the temperature 0.05..20 at which the cross-entropy of these predictions is lowest.

    Fit it on validation, never on the images that measure. One image more counts as labelled at
    random: without it, images that are all predicted correctly would ask for boundless confidence.
    The loss is convex in 1 / temperature, so its minimum is where its slope changes sign. Raises
    DataError where a label is unknown.
    Source: Guo, Pleiss, Sun and Weinberger 2017, ICML; the image more after Platt 1999.
    """
    from scipy.optimize import brentq  # takes a while to load, which other verbs need not wait for

    predictions.require_labels()
    logits = predictions.logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    own = logits[np.arange(len(logits)), predictions.labels]
    aim = (own.sum() + logits.mean()) / (len(own) + 1)

    def slope(log_temperature: float) -> float:
        """Return the derivative of the loss by 1 / temperature: mean expected logit less the labels'."""
        probs = softmax(logits * np.exp(-log_temperature), axis=1)
        return float((probs * logits).sum(axis=1).mean() - aim)

    low, high = np.log(LIMITS)
    if slope(low) <= 0:  # sharper would be better still
        return LIMITS[0]
    if slope(high) >= 0:
        return LIMITS[1]
    return float(np.exp(brentq(slope, low, high, xtol=1e-9)))
