import pytest

from resnetlab.errors import RecipeError
from resnetlab.recipe import Recipe
from resnetlab.tuning.budget import RETRAINING_SHARE, plan_search
from resnetlab.tuning.cost import Cost

HOUR = 3600.0


def planned(budget_s=HOUR, epoch_s=2.0, folds=2, epochs=12, wanted=16, **tuning):
    recipe = Recipe().override({f"tuning.{key}": value for key, value in tuning.items()})
    return plan_search(budget_s, Cost(epoch_s), folds, epochs, 2.0, recipe, wanted)


def test_where_all_fits_nothing_is_given_up():
    plan = planned()  # 16 x 24 epochs of 2 s are 13 minutes
    assert (plan.trials, plan.pruner) == (16, "none")


def test_where_not_all_fits_the_hopeless_are_given_up_early():
    plan = planned(epoch_s=12.0)  # 16 full trials would take 77 minutes
    assert (plan.trials, plan.pruner) == (16, "halving")
    assert "rungs at 2, 8 of 24 epochs" in plan.sentence


def test_long_trainings_are_not_given_up_in_their_first_epoch():
    assert "rungs at 5, 20 of 60 epochs" in planned(epochs=30, epoch_s=6.0).sentence


def test_where_even_that_does_not_fit_there_are_fewer_trials():
    plan = planned(epoch_s=40.0, wanted=200)
    assert 1 <= plan.trials < 30


def test_without_a_pruner_there_are_as_many_as_fit_in_full():
    plan = planned(epoch_s=12.0, pruner="none")
    assert plan.pruner == "none"
    assert plan.trials == int(plan.search_s // (24 * 12.0))


def test_a_pruner_that_was_asked_for_is_kept():
    assert planned(epoch_s=12.0, pruner="median").pruner == "median"


@pytest.mark.parametrize("epoch_s", [0.1, 2.0, 12.0, 40.0])
def test_the_time_for_the_retraining_is_always_kept(epoch_s):
    plan = planned(epoch_s=epoch_s)
    retraining = 2.0 * 12 * epoch_s
    assert HOUR - plan.search_s >= RETRAINING_SHARE * retraining


def test_a_budget_too_short_for_one_trial_is_refused_with_what_would_do():
    with pytest.raises(RecipeError) as caught:
        planned(budget_s=60.0)
    assert "a trial takes 48 s here (2 folds of 12 epochs, 2.0 s each)" in str(caught.value)
    assert "give at least" in str(caught.value)


def test_beside_trials_that_are_done_as_many_more_are_planned_as_fit():
    recipe = Recipe()
    plan = plan_search(HOUR, Cost(2.0), 2, 12, 2.0, recipe, wanted=3, done=5)
    assert plan.trials == 3
    assert plan.sentence.startswith("3 more trials to their end")


@pytest.mark.parametrize(
    ("budget_s", "wanted", "why"),
    [(100.0, 3, "another would take 48 s"), (HOUR, 0, "all are done")],
)
def test_where_no_more_fit_what_is_done_is_retrained_from(budget_s, wanted, why):
    plan = plan_search(budget_s, Cost(2.0), 2, 12, 2.0, Recipe(), wanted, done=5)
    assert (plan.trials, plan.search_s) == (0, 0.0)
    assert plan.sentence.startswith(f"no more trials ({why}); ")


def test_a_budget_too_short_for_the_retraining_is_refused_whatever_is_done():
    with pytest.raises(RecipeError, match="--budget is too short"):
        plan_search(60.0, Cost(2.0), 2, 12, 2.0, Recipe(), 3, done=5)


# Frozen stages, whose output is stored


def test_what_frozen_stages_give_is_reckoned_once_a_fold_and_once_for_the_retraining():
    frozen = Cost(2.0, view_s=100.0, views=5, held_out_s=20.0)
    plan = plan_search(HOUR, frozen, 2, 12, 2.0, Recipe(), 200)
    retraining = 2.0 * (12 * 2.0 + 520.0)

    assert HOUR - plan.search_s == pytest.approx(RETRAINING_SHARE * retraining + 20)
    assert "what frozen stages give 17 min 20 s before" in plan.sentence
    in_full = plan_search(
        HOUR, frozen, 2, 12, 2.0, Recipe().override({"tuning.pruner": "none"}), 200
    )
    assert in_full.trials == int((plan.search_s - 2 * 520.0) // (24 * 2.0))


def test_a_budget_too_short_for_what_frozen_stages_give_is_refused_with_what_would_do():
    with pytest.raises(
        RecipeError, match=r"what frozen stages give 8 min 40 s before.*at least 9 min 24 s"
    ):
        plan_search(300.0, Cost(2.0, 100.0, 5, 20.0), 1, 12, 0.0, Recipe(), 5)
