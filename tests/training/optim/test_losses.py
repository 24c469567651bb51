"""The loss, against the formula written out in NumPy."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from resnetlab.training.optim.losses import cross_entropy


def batch(count: int = 5, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = 5 * torch.randn(count, classes, generator=generator)
    return logits, torch.randint(0, classes, (count,), generator=generator)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_the_loss_of_an_image_is_the_cross_entropy_to_the_smoothed_target(smoothing):
    logits, labels = batch()
    target = (1 - smoothing) * np.eye(4)[labels.numpy()] + smoothing / 4

    expected = -(target * log_softmax(logits.double().numpy(), axis=1)).sum(axis=1)

    np.testing.assert_allclose(cross_entropy(logits, labels, smoothing), expected, rtol=1e-5)


def test_there_is_one_value_an_image():
    logits, labels = batch(count=7)

    assert cross_entropy(logits, labels, 0.0).shape == (7,)


def test_logits_of_a_fast_format_are_measured_in_fp32():
    logits, labels = batch()

    loss = cross_entropy(logits.bfloat16(), labels, 0.1)

    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, cross_entropy(logits.bfloat16().float(), labels, 0.1))


def test_the_loss_of_a_hopeless_answer_is_finite():
    loss = cross_entropy(torch.tensor([[1e30, -1e30]]), torch.tensor([1]), 0.0)

    assert loss.isfinite().all()
