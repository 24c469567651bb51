"""Muon turns filters by an orthogonal update; everything else takes SGD's step."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetlab.models import build
from resnetlab.training.optim.muon import Muon, orthogonal
from resnetlab.training.optim.optimizers import make_optimizer


@given(
    rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 99), bf16=st.booleans()
)
@settings(deadline=None, max_examples=40)
def test_an_update_has_the_directions_of_the_momentum_and_singular_values_near_one(
    rows, columns, seed, bf16
):
    generator = torch.Generator().manual_seed(seed)
    left, _ = torch.linalg.qr(torch.randn(rows, min(rows, columns), generator=generator))
    right, _ = torch.linalg.qr(torch.randn(columns, min(rows, columns), generator=generator))
    spread = torch.linspace(0.4, 1.0, min(rows, columns))

    found = orthogonal(left * spread @ right.T, bf16)

    assert found.shape == (rows, columns)
    turned = left.T @ found @ right  # near diagonal: the same directions
    torch.testing.assert_close(turned, turned.diagonal().diag(), atol=0.1, rtol=0)
    values = turned.diagonal()
    assert values.min() > 0.5 and values.max() < 1.5


def test_the_size_of_a_gradient_does_not_matter_to_filters():
    gradient = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    banks = []
    for scale in (1.0, 1e-3):
        bank = torch.nn.Parameter(torch.ones(8, 4, 3, 3))
        bank.grad = gradient * scale
        Muon([{"params": [bank], "lr": 0.1, "filters": True}], momentum=0.9).step()
        banks.append(bank.detach())

    torch.testing.assert_close(banks[0], banks[1], atol=5e-3, rtol=0)


def test_filters_are_kept_at_the_root_of_their_number():
    bank = torch.nn.Parameter(5 * torch.randn(16, 4, 3, 3))
    bank.grad = torch.randn_like(bank)
    Muon([{"params": [bank], "lr": 1e-6, "filters": True}], momentum=0.9).step()

    assert bank.norm().item() == pytest.approx(4.0, abs=1e-3)


def test_other_parameters_step_as_sgd_with_nesterov_does():
    values = [torch.nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2)]
    ours = Muon([{"params": [values[0]], "lr": 0.1, "weight_decay": 0.01}], momentum=0.8)
    theirs = torch.optim.SGD([values[1]], 0.1, momentum=0.8, nesterov=True, weight_decay=0.01)
    for step in range(4):
        for value, optimizer in zip(values, (ours, theirs), strict=True):
            value.grad = value.detach() ** 2 + step
            optimizer.step()

    torch.testing.assert_close(values[0], values[1])


@pytest.mark.parametrize(("precision", "bf16"), [("bf16", True), ("fp32", False)])
def test_products_are_in_the_precision_of_the_training(make_recipe, precision, bf16):
    recipe = make_recipe(training__optimizer="muon", training__precision=precision)
    optimizer = make_optimizer(build("resnet18", 3, 16, "small"), recipe.training)

    assert optimizer.bf16 == bf16
