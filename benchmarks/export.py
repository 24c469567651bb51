"""Export to ONNX: ours beside timm's exporter and Ultralytics' own, and how alike a file is answered after it."""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.images import files_in
from benchmarks.infer import bundle_of, make_bundle, some
from benchmarks.plan import Comparison, Metrics, Settings

COUNT = 128  # files that are asked about
Answers = Callable[[Sequence[Path]], np.ndarray]  # probabilities (B, K) of image files


def comparisons(settings: Settings) -> tuple[Comparison, ...]:
    """Return what is compared here."""
    return (
        Comparison(
            f"Export to ONNX at {settings.size}, then {COUNT} image files",
            {
                "resnetlab export": ours,
                "timm.utils.onnx, timm's preparation": by_timm,
                "Ultralytics export, its yolo11n-cls": by_ultralytics,
            },
            "Ours and timm's export the same network. The answers are those to files after the export against those "
            "before it by the same tool, but for timm, which has no prediction from files: there against ours. In ours "
            "preparing the image is part of the graph, and comparing it with the original part of the time. "
            "Ultralytics can't take a foreign network: its smallest of its own, random weights.",
            repeat=False,
        ),
    )


def prepare(settings: Settings) -> None:
    """Make the network."""
    folder = bundle_of(settings)
    if not (settings.bundle or (folder / "model.json").is_file()):
        make_bundle(settings, folder)


def ours(settings: Settings) -> Metrics:
    """Export a bundle, and ask the exported folder."""
    from resnetlab.deploy.predictor import Predictor
    from resnetlab.workflows.deployment.exporting import export

    def made(out: Path) -> Answers:
        export(bundle_of(settings), "onnx", out, images=some(settings))
        return answers_of(Predictor(out))

    exact = answers_of(Predictor(bundle_of(settings), backend="torch"))
    return measured(settings, "ours", exact, made)


def by_timm(settings: Settings) -> Metrics:
    """Export the same network by timm, and prepare images as timm does for evaluation."""
    import onnxruntime
    import torch
    from PIL import Image
    from timm.data import create_transform
    from timm.utils.onnx import onnx_export

    from resnetlab.deploy.bundle import load_bundle
    from resnetlab.deploy.predictor import Predictor

    class FromNormalised(torch.nn.Module):
        def __init__(self, network: Any) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Any) -> Any:
            return self.network((images * 255).round().to(torch.uint8))

    network, facts = load_bundle(bundle_of(settings))
    size = facts.image_size
    # The network normalises by itself.
    transform = create_transform(size, is_training=False, mean=(0.0,) * 3, std=(1.0,) * 3)

    def made(out: Path) -> Answers:
        out.mkdir()
        file = out / "model.onnx"
        onnx_export(FromNormalised(network), str(file), input_size=(3, size, size), batch_size=1)
        session = onnxruntime.InferenceSession(str(file))

        def answers(files: Sequence[Path]) -> np.ndarray:
            rows = []
            for path in files:
                image = transform(Image.open(path).convert("RGB")).numpy()[None]
                (logits,) = session.run(None, {session.get_inputs()[0].name: image})
                powers = np.exp((logits[0] - logits[0].max()) / facts.temperature)
                rows.append(powers / powers.sum())
            return np.stack(rows)

        return answers

    exact = answers_of(Predictor(bundle_of(settings), backend="torch"))
    return measured(settings, "timm", exact, made)


def by_ultralytics(settings: Settings) -> Metrics:
    """Export one of Ultralytics' own classifiers, and ask both by its own `predict`."""
    from ultralytics import YOLO

    work = Path(settings.work) / "ultralytics"
    work.mkdir(exist_ok=True)
    network = YOLO("yolo11n-cls.yaml")
    network.save(work / "model.pt")

    def asked(model: Any) -> Answers:
        def answers(files: Sequence[Path]) -> np.ndarray:
            found = [model(str(path), imgsz=settings.size, verbose=False)[0] for path in files]
            return np.stack([each.probs.data.cpu().numpy() for each in found])

        return answers

    def made(out: Path) -> Answers:
        file = YOLO(work / "model.pt").export(format="onnx", imgsz=settings.size)
        out.mkdir()
        return asked(YOLO(shutil.move(file, out / "model.onnx"), task="classify"))

    return measured(settings, "ultralytics", asked(YOLO(work / "model.pt")), made)


def answers_of(predictor: Any) -> Answers:
    """Return what answers by our predictor."""

    def answers(files: Sequence[Path]) -> np.ndarray:
        return np.stack([each.probs for each in predictor.predict(list(files))])

    return answers


def measured(
    settings: Settings, name: str, exact: Answers, made: Callable[[Path], Answers]
) -> Metrics:
    """Export into a fresh folder, and say how long it took, how large it is, and how it answers."""
    out = Path(settings.work) / f"exported-{name}"
    shutil.rmtree(out, ignore_errors=True)
    files = files_in(some(settings))[:COUNT]
    expected = exact(files)
    started = time.perf_counter()
    answers = made(out)
    seconds = time.perf_counter() - started
    found = answers(files)
    return {
        "export, s": seconds,
        "MB": sum(path.stat().st_size for path in out.rglob("*.onnx")) / 1e6,
        "same class": f"{(found.argmax(1) == expected.argmax(1)).mean():.1%}",
        "largest difference of a probability": f"{np.abs(found - expected).max():.1g}",
    }
