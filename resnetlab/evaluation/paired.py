"""Tests and intervals for two classifiers on the same images, and for many such tests at once.

What counts are the images on which just one of the two is correct.
"""

from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from resnetlab.evaluation.intervals import Interval

POWER = 0.8  # how often a difference would be found, the usual choice


def paired_interval(
    only_a_right: float, only_b_right: float, n: float, confidence: float = 0.95
) -> Interval:
    """Return the difference of two accuracies on the same `n` images with Tango's score interval.

    Numbers need not be whole: of images that don't stand alone fewer count.

    Source: Tango 1998, Statistics in Medicine 17, 891-908.
    """
    z = float(ndtri((1 + confidence) / 2))
    return Interval(
        value=(only_a_right - only_b_right) / n,
        low=_lower_limit(only_a_right, only_b_right, n, z),
        high=-_lower_limit(only_b_right, only_a_right, n, z),
    )


def balanced_interval(
    only_a_right: NDArray[np.bool_],
    only_b_right: NDArray[np.bool_],
    labels: NDArray[np.integer],
    confidence: float = 0.95,
    design: float = 1.0,
) -> Interval:
    """Return the difference of two balanced accuracies on the same images (N,), with an interval.

    The mean over the classes that have images of each one's difference. Classes with few images get
    their variances as if one image more had decided for either run, so that agreement on three images is
    no certainty: the interval is wide there rather than narrow. The variance grows by the `design` effect.
    Source: Bonett and Price 2012, Journal of Educational and Behavioral Statistics 37, 479-488.
    """
    z, values, variances = float(ndtri((1 + confidence) / 2)), [], []
    for label in np.unique(labels):
        own = labels == label
        count, a, b = int(own.sum()), int(only_a_right[own].sum()), int(only_b_right[own].sum())
        share_a, share_b = (a + 1) / (count + 2), (b + 1) / (count + 2)
        values.append((a - b) / count)
        variances.append((share_a + share_b - (share_a - share_b) ** 2) / (count + 2))
    value = float(np.mean(values))
    reach = z * sqrt(design * sum(variances)) / len(values)
    return Interval(value=value, low=max(value - reach, -1.0), high=min(value + reach, 1.0))


def mcnemar(only_a_right: int, only_b_right: int) -> float:
    """Return the exact two-sided p: had both runs the same accuracy, each disagreement is a coin.

    Source: McNemar 1947, Psychometrika 12, 153-157, with the binomial in place of chi-squared.
    """
    from scipy.stats import binomtest  # takes a second to load, which other verbs need not wait for

    disagreements = only_a_right + only_b_right
    return float(binomtest(only_a_right, disagreements).pvalue) if disagreements else 1.0


def mcnemar_mid_p(only_a_right: int, only_b_right: int) -> float:
    """Return McNemar's two-sided mid-p: what was observed counts half.

    The exact p never rejects too often and mostly far too seldom; this one rejects about as often as
    it says, at times by a hair more. Verdicts rest on the exact one.
    Source: Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology 13, 91.
    """
    from scipy.stats import binom  # takes a second to load, which other verbs need not wait for

    disagreements, fewer = only_a_right + only_b_right, min(only_a_right, only_b_right)
    if only_a_right == only_b_right:
        return 1.0
    below = binom.cdf(fewer, disagreements, 0.5) - 0.5 * binom.pmf(fewer, disagreements, 0.5)
    return min(2 * float(below), 1.0)


def holm(p_values: list[float]) -> list[float]:
    """Adjust p-values so that one false finding among all of them is as rare as with a single test.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(p) for p in adjusted]


def smallest_difference(n: float, discordant: float, alpha: float) -> float:
    """Return the smallest true difference in accuracy that `n` images show in 4 of 5 cases.

    Two runs disagree on the share `discordant` 0..1 of the images; `alpha` is the level of the
    test after adjustment. Connor's sample size n = ((z_a √D + z_b √(D - d²)) / d)² solved for d
    gives d = k √D. The difference can't be larger than the disagreement: where D is too small for
    anything to be shown, the answer is d = D = k², every disagreement in favour of one run. It is
    1 where so few images show nothing at all.
    Source: Connor 1987, Biometrics 43, 207-211.
    """
    if 2 * 0.5**n >= alpha:  # the exact p of one run correct and the other wrong on every image
        return 1.0
    z_a, z_b = float(ndtri(1 - alpha / 2)), float(ndtri(POWER))
    k = (z_a * sqrt(n) + z_b * sqrt(max(n + z_b**2 - z_a**2, 0.0))) / (n + z_b**2)
    return min(max(k * sqrt(discordant), k**2), 1.0)


def _lower_limit(plus: float, minus: float, n: float, z: float) -> float:
    """Find the smallest difference d that the score test does not refuse, at most the observed.

    The test's variance takes the maximum-likelihood share q of `minus` images given d.
    """
    from scipy.optimize import brentq

    observed = (plus - minus) / n
    if observed == -1:
        return -1.0

    def excess(d: float) -> float:
        b = (2 * n - plus + minus) * d - plus - minus
        q = (sqrt(max(b * b + 8 * n * minus * d * (1 - d), 0.0)) - b) / (4 * n)
        return plus - minus - n * d - z * sqrt(max(n * (2 * q + d * (1 - d)), 0.0))

    # At the observed difference itself the variance may be 0: a root, but not the limit.
    return float(brentq(excess, -1.0, observed - 1e-9))


def images_to_show(difference: float, discordant: float, alpha: float) -> int | None:
    """Return how many images show a true `difference` in accuracy in 4 of 5 cases, at level `alpha`.

    Two runs disagree on the share `discordant` 0..1 of the images. None where there is no difference.
    Source: Connor 1987, Biometrics 43, 207-211.
    """
    if difference <= 0:
        return None
    z_a, z_b = float(ndtri(1 - alpha / 2)), float(ndtri(POWER))
    root = z_a * sqrt(discordant) + z_b * sqrt(max(discordant - difference**2, 0.0))
    return ceil((root / difference) ** 2)
