"""Inference from files: our Predictor against plain PyTorch with a loader."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.images import files_in, photographs, recipe_for, stored
from benchmarks.input import BATCH, loader_of
from benchmarks.plan import Comparison, Metrics, Settings

COUNT = 512  # images, at most


def comparisons(settings: Settings) -> tuple[Comparison, ...]:
    """Return what is compared here."""
    made = "random weights, batch norms and head fitted to half of the images"
    network = "the bundle's network" if settings.bundle else "ResNet-50"
    return (
        Comparison(
            f"Inference from files, {network} at {settings.size}, batch {BATCH}",
            {
                "resnetlab, as it chooses": partial(predictor, "auto"),
                "resnetlab, openvino-int8": partial(predictor, "openvino-int8"),
                "plain torch fp32 with a loader": plain_torch,
            },
            f"The network: {'a bundle' if settings.bundle else made}. Classes and probabilities are held "
            "against PyTorch's in fp32. First call: choosing and converting are in it.",
        ),
    )


def prepare(settings: Settings) -> None:
    """Make the network, and the answers of PyTorch in fp32."""
    from resnetlab.deploy.predictor import Predictor

    folder = bundle_of(settings)
    if not (settings.bundle or (folder / "model.json").is_file()):
        make_bundle(settings, folder)
    np.save(exact_file(settings), answers(Predictor(folder, backend="torch"), settings)[0])


def bundle_of(settings: Settings) -> Path:
    """Return where the network is."""
    made = Path(settings.work) / f"network-{settings.size}-{some(settings).name}"
    return Path(settings.bundle) if settings.bundle else made


def exact_file(settings: Settings) -> Path:
    """Return where the answers are that others are held against."""
    return Path(settings.work) / "exact.npy"


def some(settings: Settings) -> Path:
    """Return the images to ask about."""
    return photographs(settings, min(COUNT, settings.count))


def make_bundle(settings: Settings, folder: Path) -> None:
    """Make a network whose answers are as sure as a trained one's, without training it.

    Norms that fit the images, and a head fitted to the features that random weights give.
    """
    import torch

    from resnetlab.data.batches import samples_of
    from resnetlab.deploy.bundle import facts_for, save_bundle
    from resnetlab.models import build
    from resnetlab.training.inputs import plain_view
    from resnetlab.training.predict import as_images

    recipe = recipe_for(settings)
    catalog, store = stored(settings, some(settings))
    samples = samples_of(catalog, store, "train")
    torch.manual_seed(0)
    network = build("resnet50", len(catalog.classes), settings.size, "imagenet").train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # plain means over the batches that follow
    half = np.array_split(np.arange(0, len(samples), 2), max(1, len(samples) // (2 * BATCH)))
    batches = [samples.batch(rows, plain_view(recipe)) for rows in half]
    with torch.no_grad():
        for batch in batches:
            network(as_images(batch.images))
        network.eval()
        features = torch.cat([network.features(as_images(batch.images)) for batch in batches])
    labels = torch.from_numpy(np.concatenate([batch.labels for batch in batches]))
    optimizer = torch.optim.Adam(network.head.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network.head(features), labels).backward()
        optimizer.step()
    save_bundle(folder, network, facts_for(recipe, catalog.classes), "A network to be timed.")


def predictor(backend: str, settings: Settings) -> Metrics:
    """Ask ours twice: the first call makes its choices."""
    from resnetlab.deploy.predictor import Predictor

    ours = Predictor(bundle_of(settings), backend=backend)
    _, first = answers(ours, settings)
    probs, rate = answers(ours, settings)
    exact = np.load(exact_file(settings))
    same = (probs.argmax(axis=1) == exact.argmax(axis=1)).mean()
    return {
        "images/s": rate,
        "same class": f"{same:.2%}",
        "largest difference of a probability": f"{np.abs(probs - exact).max():.2g}",
        "first call, images/s": first,
        "by": ours.models[0].runtime.name,
    }


def answers(ours: Any, settings: Settings) -> tuple[np.ndarray, float]:
    """Return our probabilities for all files, (N, K), and the rate."""
    paths = files_in(some(settings))
    started = time.perf_counter()
    found = ours.predict(paths, batch_size=BATCH)
    seconds = time.perf_counter() - started
    return np.stack([each.probs for each in found]), len(paths) / seconds


def plain_torch(settings: Settings) -> Metrics:
    """Resize, crop, network, softmax: what a tutorial shows."""
    import torch
    from torchvision import transforms as t
    from torchvision.datasets import ImageFolder

    from resnetlab.deploy.bundle import load_bundle

    network, facts = load_bundle(bundle_of(settings))
    steps = t.Compose([t.Resize(facts.short_side), t.CenterCrop(facts.image_size), t.PILToTensor()])
    loader = loader_of(ImageFolder(some(settings), steps), shuffle=False)
    with torch.inference_mode():
        network(next(iter(loader))[0])
        started = time.perf_counter()
        count = sum(len(network(images).softmax(dim=1)) for images, _ in loader)
    return {"images/s": count / (time.perf_counter() - started)}
