"""Which unlabelled images a person should label next."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resnetlab.data.catalog import MEMBER, Catalog
from resnetlab.data.sources.unlabelled import Item, read_unlabelled
from resnetlab.data.store.decode import ImageProblem
from resnetlab.errors import DataError
from resnetlab.evaluation.suggestion import margin_uncertainty, suggest_rows
from resnetlab.runs.run import Run, bundle_of
from resnetlab.system.files import write_csv
from resnetlab.system.progress import Progress, log
from resnetlab.system.requirements import require_writable
from resnetlab.system.threads import threads

if TYPE_CHECKING:
    from resnetlab.deploy.predictor import Predictor

HEADER = (
    "path",
    "label",
    "split",
    "predicted",
    "probability",
    "uncertainty",
    "out_of_distribution",
)


def suggest(
    model: Path, images: Sequence[Path], count: int = 100, out: Path | None = None
) -> dict[str, Any]:
    """Return the `count` unlabelled images that would teach a run or bundle most, uncertain and diverse.

    With `out`, a label table: a person fills in `label` (or leaves it empty), and `train` takes it. Below
    these rows stand the images that the run was made from, with label and split, so that the next run
    learns from all. Raises DataError where no image is sound, CheckpointError.
    """
    from resnetlab.deploy.predictor import Predictor

    if out is not None:
        require_writable(out.parent)
    predictor = Predictor(bundle_of(model), backend="torch")
    items = list(read_unlabelled(images).items())
    parts = list(looked_at(predictor, items))
    if not parts:
        raise DataError(f"{', '.join(map(str, images))}: holds no sound image")
    paths = [path for part in parts for path in part[0]]
    probs = np.concatenate([part[1] for part in parts])
    features = np.concatenate([part[2] for part in parts])
    if len(paths) < len(items):
        log(f"note: {len(items) - len(paths)} of {len(items)} files are no sound image")
    uncertainty = margin_uncertainty(probs)
    chosen = suggest_rows(features, uncertainty, count)
    outside = [None] * len(paths)
    if predictor.reference is not None:
        distances = predictor.reference.distances_of(features)
        outside = (distances > predictor.reference.threshold).tolist()
    rows = [
        {
            "path": str(paths[row]),
            "predicted": predictor.classes[int(probs[row].argmax())],
            "probability": float(probs[row].max()),
            "uncertainty": float(uncertainty[row]),
            "out_of_distribution": outside[row],
        }
        for row in chosen.tolist()
    ]
    found = {"images": len(paths), "suggestions": rows, "known": 0, "place": None}
    if out is not None:
        known, place = known_images(model, common_folder(paths))
        found |= {"known": len(known), "place": str(place)}
        cells = [suggestion_cells(row, place) for row in rows]
        write_csv(out, HEADER, [*cells, *(known_cells(*each, place) for each in known)])
    return found


def looked_at(
    predictor: "Predictor", items: Sequence[Item]
) -> Iterator[tuple[list[Path], np.ndarray, np.ndarray]]:
    """Give paths, probabilities (B, K) and features (B, D), float16, of the sound images, batch by batch."""
    from resnetlab.deploy.predictor import BATCH, prepared_ahead

    workers = os.cpu_count() or 1
    with threads(workers) as pool, Progress("looking", len(items)) as progress:
        for chunk, prepared in prepared_ahead(items, BATCH, pool, predictor.prepare):
            progress.advance(len(chunk))
            sound = [
                (path, views[0])
                for (path, _), views in zip(chunk, prepared, strict=True)
                if not isinstance(views, ImageProblem)
            ]
            if sound:
                paths, views = zip(*sound, strict=True)
                probs, features = predictor.models[0].runtime.answer(np.stack(views))
                assert features is not None, "PyTorch gives features"
                yield list(paths), probs, features.astype(np.float16)


def common_folder(paths: Sequence[Path]) -> Path:
    """Return the folder that all of these files lie in, or below."""
    return Path(os.path.commonpath([path.absolute().parent for path in paths]))


def suggestion_cells(row: dict[str, Any], place: Path) -> list[Any]:
    """Return the cells of a suggested image: its label is left to a person, it is to teach."""
    outside = "" if row["out_of_distribution"] is None else row["out_of_distribution"]
    figures = (f"{row[name]:.4f}" for name in ("probability", "uncertainty"))
    path = Path(row["path"]).absolute().relative_to(place)
    return [path, "", "train", row["predicted"], *figures, outside]


def known_cells(path: Path, label: str, split: str, place: Path) -> list[Any]:
    """Return the cells of an image that has a label."""
    return [path.relative_to(place), label, split, *([""] * (len(HEADER) - 3))]


def known_images(model: Path, new: Path) -> tuple[list[tuple[Path, str, str]], Path]:
    """Return path, label and split of the images that a run was made from, and the folder of them and the new.

    That is where paths of a label table begin. None are returned of a bundle, and where the two folders do
    not lie side by side, or one in the other: a table would have to begin too far up.
    """
    run = Run(model)
    if not run.catalog_file.is_file():
        return [], new
    catalog = Catalog.load(run.catalog_file)
    root, rows = Path(catalog.root).absolute(), catalog.rows("all")
    place = Path(os.path.commonpath([root, new]))
    apart = place not in (root, root.parent)
    if apart or any(MEMBER in path for path in catalog.paths[rows]):
        log(
            f"note: the table holds the suggestions alone: the images of {model} lie in {root}, not as files in a "
            "folder beside these"
        )
        return [], new
    return [
        (root / catalog.paths[row], catalog.classes[catalog.labels[row]], catalog.split[row])
        for row in rows.tolist()
    ], place
