"""The bundle: weights, class names and the exact way to prepare an image. Nothing is a pickle.

Torch is imported where weights are touched: an exported model is used without it.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from resnetlab.deploy.shift.reference import REFERENCE, as_bytes, describe_reference
from resnetlab.errors import CheckpointError, RecipeError, one_line
from resnetlab.evaluation.shift.reference import Reference
from resnetlab.recipe import Recipe, evaluation_size, largest_size, validate
from resnetlab.system.files import whole, write_json, write_text

if TYPE_CHECKING:
    from resnetlab.models.classifier import Classifier

FORMAT = 1
WEIGHTS, FACTS, CARD = "model.safetensors", "model.json", "README.md"
ADAPTERS = "adapters.safetensors"  # what was learned beside frozen weights


@dataclass(frozen=True)
class BundleFacts:
    """What must be known beside the weights to use a model.

    An image is decoded, reduced to `short_side` px, then cut ('crop') or squeezed ('stretch') to
    a square of `image_size` px; scaling and normalisation are part of the network.
    """

    network: str
    stem: str
    dropout: float
    classes: tuple[str, ...]
    image_size: int
    short_side: int
    fit: str
    max_pixels: int
    horizontal_flip: bool = False
    hidden: tuple[int, ...] = ()
    value_range: tuple[float, float] | None = None  # black and white in images of more than 8 bits
    upsample: int = 0  # times that the image's sides are doubled before the network
    pool: str = "average"
    temperature: float = 1.0  # by which logits are divided before they become probabilities
    # How the image is divided and its parts' answers combined, see models.parts.PartsPlan
    parts: dict[str, Any] | None = None
    # Of the training images' features, see deploy.shift; None: what is unlike them can't be told
    reference: dict[str, Any] | None = None
    # Error rates, as text, and the probabilities from which on answers are wrong no more often
    thresholds: dict[str, float] = field(default_factory=dict)


def save_bundle(
    folder: Path,
    classifier: "Classifier",
    facts: BundleFacts,
    card: str,
    reference: Reference | None = None,
) -> None:
    """Write weights, facts, card and reference. The facts come last: without them there is no bundle.

    Adapters become part of the weights; they are also written alone.
    """
    from safetensors.torch import save as save_tensors

    from resnetlab.models.lora import has_adapters, merged_state, save_adapters

    state = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in merged_state(classifier).items()
    }
    content = save_tensors(state)
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / WEIGHTS) as temporary:
        temporary.write_bytes(content)
    if has_adapters(classifier):
        save_adapters(folder / ADAPTERS, classifier)
    if reference is not None:
        known = as_bytes(reference)
        with whole(folder / REFERENCE) as temporary:
            temporary.write_bytes(known)
        facts = replace(facts, reference=describe_reference(reference, known))
    write_text(folder / CARD, card)
    digest = hashlib.sha256(content).hexdigest()
    write_json(folder / FACTS, {"format": FORMAT, "weights_sha256": digest, **asdict(facts)})


def load_bundle(folder: Path) -> "tuple[Classifier, BundleFacts]":
    """Return the classifier, in evaluation mode, and its facts.

    Raises CheckpointError where the bundle is incomplete, damaged, or from a newer version.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as load_tensors

    from resnetlab.models.pretrained import described

    facts, digest = read_facts(folder / FACTS)
    try:
        content = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{folder / WEIGHTS}: can't be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(f"{folder / WEIGHTS}: is damaged (its checksum differs)")
    try:
        check_facts(facts)
        classifier, weighted = network_of(facts)
    except (RecipeError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder / FACTS}: no network can be built by it ({one_line(error)})"
        ) from error
    try:
        weights = load_tensors(content)
    except SafetensorError as error:
        raise CheckpointError(f"{folder / WEIGHTS}: can't be read ({one_line(error)})") from error
    for name, tensor in weights.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"{folder / WEIGHTS}: {name} holds what is no finite number")
    try:
        weighted.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"{folder}: the weights don't fit {facts.network} with {len(facts.classes)} classes "
            f"({str(error).splitlines()[-1].strip():.200}); they are of {described(weights)}"
        ) from error
    return classifier.eval(), facts


def network_of(facts: BundleFacts) -> tuple["Classifier", "Classifier"]:
    """Return the network that facts describe, with fresh weights, and what of it a bundle's weights fill.

    Raises RecipeError, TypeError or ValueError where there is no such network.
    """
    from resnetlab.models import build
    from resnetlab.models.parts import PartsClassifier, PartsPlan

    plan = None
    if facts.parts is not None:
        plan = PartsPlan(**facts.parts | {"classes": tuple(facts.parts["classes"])})
    network = build(
        facts.network,
        len(plan.classes if plan else facts.classes),
        plan.image_size if plan else facts.image_size,
        facts.stem,
        facts.dropout,
        horizontal_flip=facts.horizontal_flip,
        hidden=facts.hidden,
        upsample=facts.upsample,
        pool=facts.pool,
    )
    if plan is None:
        return network, network
    return cast("Classifier", PartsClassifier(network, plan, facts.classes)), network


def read_facts(path: Path) -> tuple[BundleFacts, str]:
    """Return the facts of a bundle and the checksum of its weights. Raises CheckpointError."""
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = values.pop("format")
        if version != FORMAT:
            raise CheckpointError(
                f"{path}: is of format {version}, this version of resnetlab reads format {FORMAT}; update resnetlab"
            )
        digest = values.pop("weights_sha256")
        return facts_from(values), digest
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: not the description of a bundle ({one_line(error)})"
        ) from error


def facts_from(values: dict[str, Any]) -> BundleFacts:
    """Return the facts that stand in a JSON file. Raises KeyError or TypeError where they don't."""
    lists = ("hidden", "value_range")
    tuples = {name: tuple(values[name]) for name in lists if values.get(name) is not None}
    return BundleFacts(**values | tuples | {"classes": tuple(values["classes"])})


def check_facts(facts: BundleFacts) -> None:
    """Raise RecipeError, TypeError or ValueError for a value that no trained model could have."""
    recipe_of(facts)
    for name in ("image_size", "short_side", "max_pixels"):
        if type(getattr(facts, name)) is not int or getattr(facts, name) < 1:
            raise ValueError(f"{name} must be a whole number. Got {getattr(facts, name)!r:.200}")
    if type(facts.temperature) not in (int, float) or not 0 < facts.temperature < math.inf:
        raise ValueError(f"temperature must be a number above 0. Got {facts.temperature!r:.200}")
    if not all(0 <= float(number) <= 1 for pair in facts.thresholds.items() for number in pair):
        raise ValueError(
            f"thresholds must be error rates and probabilities. Got {facts.thresholds!r:.200}"
        )
    if len(facts.classes) < 2 or not all(isinstance(name, str) for name in facts.classes):
        raise ValueError(f"classes must be two names or more. Got {facts.classes!r:.200}")


def facts_for(
    recipe: Recipe,
    classes: tuple[str, ...],
    temperature: float = 1.0,
    thresholds: dict[str, float] | None = None,
) -> BundleFacts:
    """Return the facts of a model trained by a resolved recipe."""
    from resnetlab.data.store.pixels import short_side_for

    return BundleFacts(
        network=recipe.model.name,
        stem=recipe.model.stem,
        dropout=recipe.model.dropout,
        classes=classes,
        image_size=evaluation_size(recipe),
        short_side=short_side_for(largest_size(recipe)),
        fit=recipe.data.fit,
        max_pixels=recipe.data.max_pixels,
        horizontal_flip=recipe.evaluation.horizontal_flip is True,
        hidden=recipe.model.hidden,
        value_range=None if recipe.data.value_range == "auto" else recipe.data.value_range,
        upsample=recipe.model.upsample,
        pool=recipe.model.pool,
        temperature=temperature,
        thresholds=thresholds or {},
    )


def recipe_of(facts: BundleFacts) -> Recipe:
    """Return the recipe by which images are prepared for a bundle."""
    tree = {
        "data": {
            "image_size": facts.image_size,
            "fit": facts.fit,
            "max_pixels": facts.max_pixels,
            "value_range": facts.value_range,
        },
        "model": {
            "name": facts.network,
            "stem": facts.stem,
            "hidden": list(facts.hidden),
            "dropout": facts.dropout,
            "upsample": facts.upsample,
            "pool": facts.pool,
        },
        "evaluation": {"horizontal_flip": facts.horizontal_flip},
    }
    return validate(tree, "bundle")
