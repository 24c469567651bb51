"""The head of an earlier network, for the classes that it knows by name."""

from collections.abc import Sequence
from pathlib import Path

import torch

from resnetlab.errors import CheckpointError
from resnetlab.models.classifier import Classifier
from resnetlab.models.pretrained import read_state
from resnetlab.system.files import read_json


def known_classes(weights: Path) -> tuple[str, ...]:
    """Return the classes of the bundle whose weights these are, in the order of its outputs.

    Raises CheckpointError where the file is no bundle's.
    """
    facts = weights.with_name("model.json")
    if not facts.is_file():
        raise CheckpointError(
            f"{weights}: names no classes, as model.head=weights needs; give a run or a bundle"
        )
    return tuple(map(str, read_json(facts, dict).get("classes", ())))


def load_head(classifier: Classifier, weights: Path, classes: Sequence[str]) -> None:
    """Give the head the rows that a bundle has for `classes`; a class that it doesn't know stays new.

    The dense layers before the head come along. Raises CheckpointError where they don't fit.
    """
    state, known = read_state(weights), known_classes(weights)
    hidden = {
        name.removeprefix("hidden."): tensor
        for name, tensor in state.items()
        if name.startswith("hidden.")
    }
    head = classifier.head
    found = {name: tuple(tensor.shape) for name, tensor in hidden.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in classifier.hidden.state_dict().items()}
    rows = tuple(state["head.weight"].shape) if "head.weight" in state else None
    if found != wanted or rows != (len(known), head.in_features):
        raise CheckpointError(
            f"{weights}: its head is of shape {rows}, over dense layers of {len(found)} tensors; "
            f"wanted is {(len(known), head.in_features)}, over {len(wanted)}"
        )
    classifier.hidden.load_state_dict(hidden)
    with torch.no_grad():
        for row, name in enumerate(classes):
            if name in known:
                head.weight[row] = state["head.weight"][known.index(name)]
                head.bias[row] = state["head.bias"][known.index(name)]
