"""A bundle that classifies the parts of an image and combines the answers."""

from dataclasses import asdict, replace
from pathlib import Path

from resnetlab.deploy.bundle import FACTS, BundleFacts, load_bundle, read_facts, save_bundle
from resnetlab.deploy.card import front_matter
from resnetlab.errors import RecipeError
from resnetlab.runs.run import bundle_of
from resnetlab.system.requirements import require_empty

CARD = """{head}
# {count} parts by {by}, combined by {rule}

Names the class of an image that shows {count} things side by side: each is classified by the model this
bundle was made from ({network}), their answers make the label by the rule '{rule}'.

    resnetlab predict . images/
"""


def combine(
    model: Path,
    out: Path,
    count: int,
    by: str = "columns",
    rule: str = "sum",
    classes: tuple[str, ...] = (),
) -> BundleFacts:
    """Write a bundle for images of `count` things side by side, by a model of single ones; return its facts.

    `by` is 'columns' or 'components', `rule` 'sum', 'concatenation' or 'vote'; `classes` are those of
    the whole, by default all that follow from the parts'. Raises RecipeError where they don't follow,
    CheckpointError for a damaged bundle, MachineError where `out` is not empty.
    """
    from resnetlab.models.parts import (
        COMBINATIONS,
        DIVISIONS,
        PartsClassifier,
        PartsPlan,
        classes_by,
    )

    for name, value, known in (("by", by, DIVISIONS), ("rule", rule, COMBINATIONS)):
        if value not in known:
            raise RecipeError(f"--{name} must be one of {', '.join(known)}. Got {value!r}")
    if count < 2:
        raise RecipeError(f"--count must be 2 parts at least. Got {count}")
    require_empty(out)
    folder = bundle_of(model)
    part, _ = read_facts(folder / FACTS)
    if part.parts is not None:
        raise RecipeError(f"{model}: divides images itself; give the model of a single part")
    network, _ = load_bundle(folder)
    plan = PartsPlan(by, count, rule, part.classes, part.image_size, part.temperature)  # type: ignore[arg-type]
    names = classes or classes_by(plan.rule, part.classes, count)
    PartsClassifier(network, plan, names)  # what doesn't follow shows here
    side = count * part.image_size
    facts = replace(
        part,
        classes=names,
        image_size=side,
        short_side=max(part.short_side, side),
        fit="stretch",
        temperature=1.0,
        parts=asdict(plan),
        reference=None,  # it tells of single things
        thresholds={},  # as do these
    )
    head = front_matter(part.network)
    card = CARD.format(head=head, count=count, by=by, rule=rule, network=part.network)
    save_bundle(out, network, facts, card)
    return facts
