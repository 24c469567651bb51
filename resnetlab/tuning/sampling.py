"""Which trial comes next, and which is given up: Optuna's samplers and pruners, made repeatable."""

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial

from resnetlab.training.optim.learner import address


class RepeatableTPE(BaseSampler):
    """Optuna's tree-structured Parzen estimator, seeded anew for each trial and setting.

    One sampler for a whole process would draw otherwise after a restart.
    Source: Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def _at(self, trial: FrozenTrial, name: str = "") -> TPESampler:
        return TPESampler(seed=address(self.seed, trial.number, *name.encode()) % 2**32)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the settings that are drawn together."""
        return self._at(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw those."""
        return self._at(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw one setting by itself."""
        sampler = self._at(trial, param_name)
        return sampler.sample_independent(study, trial, param_name, param_distribution)


REDUCTION = 4  # of halving: one trial of so many goes on at each rung


def first_rung(epochs: int) -> int:
    """Return after how many epochs of the first fold a trial may be given up: a sixth of them.

    After a single one, networks trained from scratch tell hardly more than chance.
    """
    return max(1, round(epochs / 6))


def make_pruner(name: str | None, folds: int, epochs: int) -> optuna.pruners.BasePruner:
    """Return what ends trials early, by name; a full trial has so many folds of so many epochs.

    Sources: Golovin et al. 2017, Google Vizier (median); Li et al. 2020, A System for Massively
    Parallel Hyperparameter Tuning (halving); Li et al. 2018, Hyperband.
    """
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4)
    if name == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(
            min_resource=first_rung(epochs), reduction_factor=REDUCTION
        )
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=first_rung(epochs),
            max_resource=folds * epochs,
            reduction_factor=REDUCTION,
        )
    return optuna.pruners.NopPruner()
