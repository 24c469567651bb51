"""What several verbs do on their way."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from resnetlab.data.audit.quarantine import left_out, unread_formats
from resnetlab.data.catalog import SPLITS, Catalog
from resnetlab.data.dataset import Dataset, read_listed
from resnetlab.data.store.pixels import PixelStore
from resnetlab.errors import RecipeError
from resnetlab.recipe import Recipe, evaluation_size, validate
from resnetlab.runs.differences import differences
from resnetlab.runs.reopen import reopen_data
from resnetlab.runs.run import Run, bundle_of
from resnetlab.runs.unfinished import lasting, resume_command
from resnetlab.system.files import write_json
from resnetlab.system.progress import log


def from_bundle(recipe: Recipe) -> Recipe:
    """Return a recipe that names a run or bundle as its model, or as its weights alone, spelled out.

    Network and input size are the bundle's where the recipe leaves them open. Raises DataError where
    a folder is neither, CheckpointError where the bundle is damaged.
    """
    model = recipe.model
    named = model.name if Path(model.name).is_dir() else model.weights
    in_hub_form = (Path(named) / "config.json").is_file()
    if not Path(named).is_dir() or in_hub_form or (named == model.weights and model.name != "auto"):
        return recipe
    from resnetlab.deploy.bundle import FACTS, read_facts

    facts, _ = read_facts(bundle_of(Path(named)) / FACTS)
    values: dict[str, Any] = {
        "model.name": facts.network,
        "model.stem": facts.stem,
        "model.hidden": list(facts.hidden),
        "model.upsample": facts.upsample,
        "model.pool": facts.pool,
    }
    if model.weights == "auto":
        values["model.weights"] = lasting(Path(named))
    if recipe.data.image_size == "auto":
        values["data.image_size"] = facts.image_size
    return recipe.override(values)


def say_notes(catalog: Catalog) -> None:
    """Say what was taken by guess or passed over in the data, before anything is made of it."""
    for note in catalog.notes:
        log(f"note: {note}")


def read_and_say(name: str, catalog: Catalog, recipe: Recipe, as_one: bool = False) -> Dataset:
    """Read and audit listed images, see `read_listed`; say what is noted of them beside the listing's notes.

    Also which can't be used.
    """
    dataset = read_listed(name, catalog, recipe, as_one)
    found = dataset.catalog.notes[len(catalog.notes) :]
    for note in (*found, *unread_formats(dataset.catalog), *left_out(dataset.catalog)):
        log(f"note: {note}")
    return dataset


def begin_run(run: Run, catalog: Catalog, findings: dict[str, Any], recipe: Recipe) -> None:
    """Write what is known before the work: catalog, environment, data set, and last the recipe.

    With the recipe the folder is a run: from here on its images and settings are settled.
    """
    write_beginnings(run, catalog, findings, recipe)
    run.write_recipe(recipe)


def write_beginnings(run: Run, catalog: Catalog, findings: dict[str, Any], recipe: Recipe) -> None:
    """Write catalog, environment and data set of what is about to begin."""
    from resnetlab.runs.environment import environment

    counts = {split: len(catalog.rows(split)) for split in SPLITS}
    log("splits " + ", ".join(f"{split} {count:,}" for split, count in counts.items() if count))
    catalog.save(run.catalog_file)
    facts = environment() | {"seed": recipe.seed, "started": now(), "recipe": recipe_facts(recipe)}
    write_json(run.folder / "environment.json", facts)
    run.add_metrics(dataset=findings)


def recipe_facts(recipe: Recipe) -> dict[str, Any]:
    """Return what environment.json tells of a recipe: the digest of its file, and its values."""
    digest = hashlib.sha256(recipe.to_yaml().encode()).hexdigest()
    return {"sha256": digest, "values": recipe.model_dump(mode="json")}


def return_to(run: Run, anyway: bool) -> tuple[Catalog, PixelStore]:
    """Return the catalog and the pixels of a run that was cut off, if all is as it was.

    Raises RecipeError where its recipe was changed by hand, DataError where its images were. With
    `anyway` the run goes on where that makes sense, and records what has changed.
    """
    changes = changes_of_recipe(run)
    if changes and not anyway:
        raise RecipeError(
            f"{run.folder / 'recipe.yaml'}: was changed since the run began: {'; '.join(changes)}; "
            "put it back, or go on by it all the same: "
            f"{resume_command(run.folder)} --anyway"
        )
    catalog, store, lost = reopen_data(run, run.recipe, anyway)
    if changes or lost:
        record_going_on(run, [*changes, *(f"images: {each}" for each in lost)])
    return catalog, store


def changes_of_recipe(run: Run) -> list[str]:
    """Return what differs between a run's recipe and the one with which it began or last went on."""
    known = run.environment.get("recipe")
    if known is None or known["sha256"] == recipe_digest(run):
        return []
    return differences(validate(known["values"], str(run.folder / "environment.json")), run.recipe)


def record_going_on(run: Run, changes: list[str]) -> None:
    """Write into environment and report of a run that it went on although this had changed."""
    log(f"note: going on although this has changed: {'; '.join(changes)}")
    entry = {"time": now(), "changes": changes}
    recipe = {"sha256": recipe_digest(run), "values": run.recipe.model_dump(mode="json")}
    run.add_to_environment(
        recipe=recipe, went_on_anyway=[*run.environment.get("went_on_anyway", []), entry]
    )
    findings = run.metrics["dataset"]
    note = f"this run went on although something had changed: {'; '.join(changes)}"
    run.add_metrics(dataset=findings | {"notes": [*findings["notes"], note]})


def recipe_digest(run: Run) -> str:
    """Return the SHA-256 of a run's recipe.yaml."""
    return hashlib.sha256((run.folder / "recipe.yaml").read_bytes()).hexdigest()


def describe_model(classifier: Any, recipe: Recipe) -> dict[str, Any]:
    """Return name, size and cost of a network."""
    from resnetlab.models.parts import PartsClassifier
    from resnetlab.models.stages import stage_table

    image_size = evaluation_size(recipe)
    parameters = list(classifier.parameters())
    if isinstance(classifier, PartsClassifier):
        plan = classifier.plan
        macs = plan.count * stage_table(classifier.part, plan.image_size)[-1].macs
    else:
        macs = stage_table(classifier, image_size)[-1].macs
    return {
        "name": recipe.model.name,
        "parameters": sum(p.numel() for p in parameters),
        "trainable": sum(p.numel() for p in parameters if p.requires_grad),
        "macs": macs,
        "image_size": image_size,
    }


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
