"""The text that goes with a model: a model card as the Hugging Face hub reads it, from what was measured."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from resnetlab.evaluation.shift.reference import REFUSED
from resnetlab.recipe import Recipe
from resnetlab.report.formats import percent, percent_range, plural
from resnetlab.report.opening import beware
from resnetlab.report.words import confidence, foreign
from resnetlab.runs.run import Run

Json = Mapping[str, Any]
NAMES = {"test": "test", "val": "validation"}
TOLD = {  # figures of a card, by the hub's names of them
    "accuracy": ("accuracy", "Accuracy"),
    "balanced_accuracy": ("balanced_accuracy", "Balanced accuracy"),
    "macro_f1": ("f1", "Macro F1"),
    "auroc": ("roc_auc", "Macro AUROC"),
}


def card(run: Run, recipe: Recipe) -> str:
    """Return the model card of a run: front matter, what it is for, how good it is, what to beware of."""
    facts = run.metrics
    data, model = facts["dataset"], facts["model"]
    splits = [split for split in NAMES if split in facts]
    went_on = [entry["changes"] for entry in run.environment.get("went_on_anyway", [])]
    changed = "".join(
        f"\nIt went on although this had changed: {'; '.join(each)}.\n" for each in went_on
    )
    measured = "".join(_table(NAMES[split], facts[split]) for split in splits)
    told = "".join(f"{sentence} " for sentence in foreign(facts.get("foreign", {})))
    limits = f"{beware(facts, run.ledger)}\n\n" if splits else ""
    name = f"{data['name']}-{model['name']}"
    return f"""{front_matter(model["name"], name, results_of(facts))}
# {data["name"]}: {model["name"]}

Names the class of an image: {", ".join(data["classes"])}.

Trained on {sum(data["counts"]["train"])} images by resnetlab, seed {recipe.seed}; images reach it at
{model["image_size"]} × {model["image_size"]} px.
{changed}
## How good it is

{measured or "Nothing has measured it yet." + chr(10)}
## What to beware of

{limits}It knows these classes only and will name one of them for any image. Where the bundle holds a
`reference.safetensors`, `predict` marks an image that is unlike the training images as
`out_of_distribution`; about {percent(REFUSED)} of familiar ones are marked too. {told}The figures hold for
images like those that measured it; another camera, place or time can be harder.

## How to use it

    resnetlab predict . images/
"""


def front_matter(network: str, name: str = "", results: Sequence[Json] = ()) -> str:
    """Return the head of a model card, as the hub's ModelCardData reads it; `results` are those of model `name`."""
    matter: dict[str, Any] = {
        "library_name": "resnetlab",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "resnetlab", network],
    }
    if results:
        matter["model-index"] = [{"name": name, "results": list(results)}]
    return f"---\n{yaml.safe_dump(matter, sort_keys=False, allow_unicode=True)}---\n"


def results_of(facts: Json) -> list[Json]:
    """Return what was measured on each split, as the hub names it."""
    data = facts["dataset"]
    return [
        {
            "task": {"type": "image-classification", "name": "Image classification"},
            "dataset": {"name": data["name"], "type": data["name"], "split": NAMES[split]},
            "metrics": [
                {
                    "type": kind,
                    "value": round(facts[split][name]["value"], 4),
                    "name": f"{title} ({confidence(facts[split])} interval "
                    f"{percent_range(facts[split][name])}, {plural(facts[split]['samples'], 'image')})",
                }
                for name, (kind, title) in TOLD.items()
                if facts[split].get(name)
            ],
        }
        for split in NAMES
        if split in facts
    ]


def _table(split: str, score: Json) -> str:
    """Return the main figures of a split as a Markdown table."""
    rows = [
        f"| {title} | {percent(score[name]['value'])} | {percent_range(score[name])} |"
        for name, (_, title) in TOLD.items()
        if score.get(name)
    ]
    found = score.get("calibration")
    if found:
        error = found["calibrated"]["ece"]
        rows.append(
            f"| Expected calibration error | {percent(error['value'])} | {percent_range(error)} |"
        )
    head = f"| {plural(score['samples'], split + ' image')} | | {confidence(score)} interval |"
    return "\n".join([head, "|---|---|---|", *rows]) + "\n\n"
