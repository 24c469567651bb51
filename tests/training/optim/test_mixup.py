"""Mixup lays two images over each other, CutMix one into the other; both labels count by their shares."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnetlab.training.optim.losses import Criterion, cross_entropy
from resnetlab.training.optim.mixup import Mix, draw_mix


@given(alpha=st.floats(0.05, 5), count=st.integers(1, 40), seed=st.integers(0, 2**63 - 1))
def test_every_image_lies_under_one_other_and_keeps_the_larger_share(alpha, count, seed):
    mix = draw_mix(alpha, 0, count, seed)

    assert sorted(mix.partners.tolist()) == list(range(count))
    assert 0.5 <= mix.share <= 1


def test_it_is_a_function_of_the_seed():
    assert draw_mix(0.4, 0, 9, seed=1).share == draw_mix(0.4, 0, 9, seed=1).share
    assert draw_mix(0.4, 0, 9, seed=1).share != draw_mix(0.4, 0, 9, seed=2).share


def test_images_are_weighted_means_in_whole_steps_and_keep_their_memory_format():
    images = torch.tensor([0, 255, 100], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 3, 4, 4)
    images = images.contiguous(memory_format=torch.channels_last)

    mixed = Mix(torch.tensor([1, 2, 0]), 0.75).images(images)

    assert mixed.dtype == torch.uint8
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    assert mixed[:, 0, 0, 0].tolist() == [64, 216, 75]


def test_the_loss_is_that_of_soft_labels():
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    own, others = torch.tensor([0, 1, 4]), torch.tensor([1, 1, 2])

    found = Mix(torch.arange(3), 0.7).loss(logits, own, others, Criterion(), 0.7)

    soft = 0.7 * torch.eye(5)[own] + 0.3 * torch.eye(5)[others]
    torch.testing.assert_close(found, -(soft * logits.log_softmax(dim=1)).sum(dim=1))
    torch.testing.assert_close(
        Mix(torch.arange(3), 1.0).loss(logits, own, others, Criterion(label_smoothing=0.1), 1.0),
        cross_entropy(logits, own, 0.1),
    )


def test_a_training_with_mixup_differs_and_learns(train, make_recipe, tmp_path):
    plain, _ = train(make_recipe(training__epochs=6), tmp_path / "plain")
    mixed, history = train(make_recipe(training__epochs=6, training__mixup=1.0), tmp_path / "mixed")

    assert not torch.equal(plain.head.weight, mixed.head.weight)
    assert history[-1]["val_accuracy"] == pytest.approx(1.0)


@given(alpha=st.floats(0.1, 5), seed=st.integers(0, 2**63 - 1), side=st.integers(4, 40))
def test_a_box_of_the_partner_is_pasted_and_each_label_counts_by_its_pixels(alpha, seed, side):
    images = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, side, side + 3)

    mix = draw_mix(0, alpha, 4, seed)
    mixed = mix.images(images)

    own = (mixed == images)[mix.partners != torch.arange(4)]
    shares = own.double().mean(dim=(1, 2, 3))
    assert torch.allclose(shares, torch.full_like(shares, mix.share_in(images)))
    assert set(mixed.unique().tolist()) <= set(range(4))


def test_of_mixup_and_cutmix_a_batch_gets_one():
    boxes = [draw_mix(0.4, 1.0, 8, seed).box is not None for seed in range(60)]

    assert 15 < sum(boxes) < 45
