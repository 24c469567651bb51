"""Numbers put into plain sentences: what a reader should take from a run."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnetlab.report.formats import (
    duration,
    large,
    listed,
    moment,
    percent,
    percent_range,
    plural,
)

Json = Mapping[str, Any]


def verdict(metrics: Json, folder: Path) -> dict[str, str]:
    """Return the report's first `sentence` and, where one is due, a `note` and a `command`."""
    if "test" in metrics:
        images = plural(metrics["test"]["samples"], "test image")
        # Only a run that trained the model knows what it has seen; one that got it does not.
        unseen = " that it had never seen" if "training" in metrics else ""
        return {"sentence": f"On {images}{unseen}, {_named(metrics['test'])}"}
    if "val" not in metrics:
        return {"sentence": "This run has no results yet."}
    images = plural(metrics["val"]["samples"], "validation image")
    chosen = "the epoch that is kept"
    if metrics.get("training", {}).get("epochs_run") == 0:
        chosen = "how strongly the head is regularised"
    note = f"These images also chose {chosen}, so the figure is a little optimistic."
    result = {"sentence": f"On {images}, {_named(metrics['val'])}", "note": note}
    if not sum(metrics.get("dataset", {}).get("counts", {}).get("test", [])):
        result["note"] += " No images were set aside for a test."
        return result
    result["note"] += " The test images have not been used yet; this opens them:"
    return result | {"command": f"resnetlab evaluate {run_path(folder)}"}


def run_path(folder: Path, *file: str) -> str:
    """Return 'runs/photos' as it would be typed, without where on this machine it lies."""
    place = folder.resolve()
    return shlex.quote("/".join((place.parent.name, place.name, *file)))


def _named(score: Json) -> str:
    accuracy = score["accuracy"]
    return (
        f"the model classifies {percent(accuracy['value'])} correctly "
        f"({confidence(score)} interval {percent_range(accuracy)})."
    )


def confidence(score: Json) -> str:
    """Return '95 %'."""
    return f"{100 * float(score.get('confidence', 0.95)):g} %"


def describe_data(audit: Json) -> list[str]:
    """Return sentences on the number of images, their balance, sizes and copies."""
    classes, counts = audit.get("classes", []), audit.get("counts", {})
    total = [sum(column) for column in zip(*counts.values(), strict=True)]
    names = (("train", "training"), ("val", "validation"), ("test", "the test"))
    by_split = [
        f"{sum(counts[split]):,} for {name}" for split, name in names if sum(counts.get(split, []))
    ]
    used, found = audit.get("used", sum(total)), audit.get("images", sum(total))
    start = plural(used, "image") if used == found else f"{used:,} of {plural(found, 'image')}"
    usable = "" if used == found else " can be used,"
    split = f": {listed(by_split)}" if len(by_split) > 1 else ""
    sentences = [f"{start}{usable} in {plural(len(classes), 'class')}{split}."]
    if len(total) > 1:
        sentences.append(_balance(classes, total))
    if "sizes" in audit:
        sentences.append(_sizes(audit["sizes"]))
    grey = audit.get("grey_frac", 0)
    if grey:
        sentences.append(f"{percent(grey)} of them are grey." if grey < 1 else "All are grey.")
    if "duplicates" in audit:
        sentences.append(_copies(audit["duplicates"], audit.get("conflicts", 0)))
    return sentences


def _balance(classes: Sequence[str], total: Sequence[int]) -> str:
    most, least = max(total), min(total)
    if most == least:
        return f"Every class has {plural(most, 'image')}."
    if most <= 1.5 * least:
        advice = "the classes are close to even"
    elif most <= 3 * least:
        advice = "the classes are somewhat uneven"
    else:
        advice = "the classes are uneven, so look at balanced accuracy beside accuracy"
    largest, smallest = classes[total.index(most)], classes[total.index(least)]
    return f"The largest class, {largest}, has {most:,}, the smallest, {smallest}, {least:,}: {advice}."


def _sizes(sizes: Json) -> str:
    width, height = sizes["width"], sizes["height"]
    if width[0] == width[2] and height[0] == height[2]:
        return f"All images are {width[0]:,} × {height[0]:,} px."
    wide, high = (f"{low:,} to {top:,} px (median {mid:,})" for low, mid, top in (width, height))
    return f"The images are {wide} wide and {high} high."


def _copies(duplicates: int, conflicts: int) -> str:
    if not duplicates:
        return "No image is an exact copy of another."
    copies = "is an exact copy" if duplicates == 1 else "are exact copies"
    sentence = f"{plural(duplicates, 'image')} {copies} of another."
    if conflicts:
        verb = "carries" if conflicts == 1 else "carry"
        sentence += f" {plural(conflicts, 'image')} {verb} two labels; nobody knows which is right."
    return sentence


def describe_near(near: Json) -> list[str]:
    """Return sentences on near-duplicates."""
    if not near.get("images"):
        return ["No image was found to be a near-duplicate of another."]
    have = "has" if near["images"] == 1 else "have"
    sentences = [
        f"{plural(near['images'], 'image')} {have} a near-duplicate: scaled, cropped, compressed anew, "
        "recoloured or flipped. Such images always stay in the same split."
    ]
    for split, name in (("val", "validation"), ("test", "test")):
        count = near["across_splits"][split]
        if count:
            sentences.append(
                f"{plural(count, name + ' image')} {'has' if count == 1 else 'have'} one in another split as the "
                "data came; what lies in the training split is left out, so that the test stays fair."
            )
    if near["across_labels"]:
        sentences.append(
            f"{plural(near['across_labels'], 'pair')} carry two labels: one of the two is likely wrong."
        )
    return sentences


def describe_training(training: Json, model: Json, head: Json | None = None) -> list[str]:
    """Return sentences on network, head, length, speed and how the training stopped."""
    sentences = []
    if "name" in model:
        sentences.append(_network(model))
    if head:
        sentences.append(_head(head))
    if training.get("epochs_run") == 0:
        sentences.append("Nothing else was trained.")
    elif "epochs_run" in training:
        sentences += [_length(training), *_kept(training)]
    if training.get("horizontal_flip") is True:
        sentences.append("Predictions are the mean over an image and its horizontal flip.")
    return sentences


def _kept(training: Json) -> list[str]:
    """Say which weights are handed over; where nothing validated, they are the last, and nothing is said."""
    if training.get("head_kept"):
        return ["No epoch was better on validation than the head alone, which is kept."]
    if training.get("start_kept"):
        return ["No epoch was better on validation than the network it began with, which is kept."]
    score = training.get("best_score")
    if "best_epoch" not in training or score is None:
        return []
    what = training.get("monitor", "accuracy").removeprefix("val_").replace("_", " ")
    figure = "" if what == "loss" else f", {percent(score)}"
    weights = f"The weights kept are those of epoch {training['best_epoch']}"
    highest = training.get("highest_score")
    if highest is not None and highest > score:
        return [
            f"{weights}, the last whose validation {what}{figure}, is within one standard error of the best, "
            f"{percent(highest)}."
        ]
    return [f"{weights}, the best by validation {what}{figure}."]


def _head(head: Json) -> str:
    sentence = (
        "First its head was fitted on the features of the starting weights, by logistic regression, "
        f"in {duration(head['seconds'])}"
    )
    if head.get("accuracy") is None:
        return f"{sentence}."
    return (
        f"{sentence}: {percent(head['accuracy'])} validation accuracy (a vote of the nearest training "
        f"images has {percent(head['neighbours'])})."
    )


def _network(model: Json) -> str:
    facts = [f"{large(model['parameters'])} parameters"] if "parameters" in model else []
    if 0 < model.get("trainable", 0) < model.get("parameters", 0):
        facts.append(f"{large(model['trainable'])} of them trained")
    if model.get("macs"):
        facts.append(f"{large(model['macs'])} multiply-adds an image")
    if "image_size" in model:
        facts.append(f"images of {model['image_size']} × {model['image_size']} px")
    return f"The network is {model['name']}" + (f": {', '.join(facts)}." if facts else ".")


def _length(training: Json) -> str:
    ran, asked = training["epochs_run"], training.get("epochs", training["epochs_run"])
    early = training.get("stopped") == "early stopping"
    sentence = (
        f"It trained for {ran} of {plural(asked, 'epoch')}"
        if early
        else (f"It trained for {plural(ran, 'epoch')}")
    )
    if "seconds" in training:
        sentence += f" in {duration(training['seconds'])}"
    if "device" in training:
        precision = f" ({training['precision']})" if "precision" in training else ""
        sentence += f" on {training['device']}{precision}"
    if training.get("images_per_second"):
        sentence += f", {training['images_per_second']:,.0f} images a second"
    end = ", and stopped early, as the score no longer rose" if early else ""
    return sentence + end + "."


def describe_settings(recipe: Json) -> str:
    """Return the settings that matter most in one sentence; the whole recipe says the rest."""
    training, model = recipe.get("training") or {}, recipe.get("model") or {}
    names = (
        (training, "optimizer", "optimiser {}"),
        (training, "lr", "learning rate {}"),
        (training, "schedule", "schedule {}"),
        (training, "batch_size", "batches of {}"),
        (training, "weight_decay", "weight decay {}"),
        (training, "label_smoothing", "label smoothing {}"),
        (model, "dropout", "dropout {}"),
        (model, "weights", "starting weights {}"),
        (recipe, "seed", "seed {}"),
    )
    facts = [
        text.format(place[key])
        for place, key, text in names
        if place.get(key) is not None and str(place[key]) != "0.0"  # what is off needs no words
    ]
    return f"Settings: {', '.join(facts)}." if facts else ""


def how_sure(score: Json, split: str) -> list[str]:
    """Return what the interval means for a reader, and what it leaves out."""
    number, interval = score["samples"], score["accuracy"]
    half = 50 * (interval["high"] - interval["low"])
    smallest = min(
        (row for row in score.get("per_class", []) if row["support"]),
        key=lambda row: int(row["support"]),
        default=None,
    )
    sentences = [
        f"The figures come from {plural(number, f'{split} image')}. Another {number:,} of the same kind "
        f"would give a slightly different accuracy, by chance alone; the {confidence(score)} "
        f"interval, {percent_range(interval)}, is where the accuracy on endlessly many such "
        f"images is to be expected. That is about ±{half:.1f} points. Four times as many "
        "images would halve it."
    ]
    if smallest is not None and len(score["per_class"]) > 1:
        sentences.append(
            f"Figures of single classes are rougher: class {smallest['class']} rests on "
            f"{plural(smallest['support'], 'image')}."
        )
    sentences.append(
        "The interval does not cover what these images cannot show: another camera, other "
        "places or times, wrong labels, or the luck of one training run."
    )
    return sentences


def foreign(found: Json) -> list[str]:
    """Return how many images of none of the classes are told; nothing where that was not measured."""
    if not found:
        return []
    return [
        f"Of {plural(found['images'], 'image')} that show none of the classes ({found['name']}), "
        f"{percent(found['refused']['value'])} ({confidence(found)} interval "
        f"{percent_range(found['refused'])}) are called unlike the training images; so are about "
        f"{percent(found['false_refusals'])} of familiar ones. {percent(found['sure']['value'])} get a class with a "
        f"confidence of 90 % or more, {percent(found['sure_and_kept']['value'])} without being marked."
    ]


def calibrated(score: Json) -> str:
    """Return how far the confidences of a split can be trusted; nothing for a run from before."""
    found = score.get("calibration")
    if not found:
        return ""
    before, after = found["ece"], found["calibrated"]["ece"]
    error = f"{percent(after['value'])} on average ({confidence(score)} interval {percent_range(after)})"
    if found["temperature"] == 1:
        return f"Confidence and accuracy differ by {error}: the expected calibration error (ECE)."
    return (
        f"The model hands over calibrated probabilities: its logits are divided by a temperature of "
        f"{found['temperature']:.2f}, fitted on validation. Confidence and accuracy then differ by {error}, the "
        f"expected calibration error (ECE); without it by {percent(before['value'])}."
    )


def openings(ledger: Sequence[Json]) -> dict[str, Any]:
    """Return a sentence on how often the test split was opened; more than once is worth a `warning`."""
    if not ledger:
        return {"sentence": "The test split has not been opened."}
    if len(ledger) == 1:
        return {"sentence": f"The test split was opened once, on {moment(ledger[0]['opened'])}."}
    recipes = len({entry.get("recipe_sha256") for entry in ledger})
    by = f" by {recipes} different recipes" if recipes > 1 else ""
    return {
        "warning": f"The test split was opened {len(ledger)} times{by}. As soon as a choice follows "
        "from one opening, the next figure is no longer from unseen images. Trust the first most, "
        f"{percent(ledger[0]['accuracy'])}, or test on fresh images."
    }
