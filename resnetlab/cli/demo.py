"""The demo: what a user would do by hand, on scikit-learn's 1,797 scanned digits."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from resnetlab.errors import ResnetlabError

NETWORKS = ("mlp", "cnn", "resnet18")


def run_demo(out: Path) -> None:
    """Write the digits as class folders, then inspect, train three networks, evaluate, compare.

    Every step is a real command, printed before it runs. Raises ResnetlabError where one fails.
    """
    data = out / "digits"
    print(f"Writing scikit-learn's scanned digits as PNG files into {data}", flush=True)
    write_digits(data)
    runs = [next_name(out / "runs", f"digits-{network}") for network in NETWORKS]
    command("inspect", data, "--out", out / "inspection")
    for network, run in zip(NETWORKS, runs, strict=True):
        command(
            "train",
            data,
            "--recipe",
            "demo",
            "--model",
            network,
            "--out",
            run.parent,
            "--name",
            run.name,
        )
    for run in runs:
        command("evaluate", run)
    command("compare", *runs, "--out", out / "comparison")
    command("predict", runs[-1], data / "7", "--out", out / "sevens.csv")
    print(f"\nThe report of the best-known network: {runs[-1] / 'report.html'}")
    print(f"The comparison of all three:           {out / 'comparison' / 'comparison.html'}")


def write_digits(folder: Path) -> None:
    """Write 1,797 digits of 8×8 px as PNG class folders 0 to 9; those that are there are kept.

    Source: Alpaydin and Kaynak 1998, 'Optical Recognition of Handwritten Digits', test split.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / str(label) / f"{number:04d}.png"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.rint(image * 255 / 16).astype(np.uint8)).save(path)


def next_name(out: Path, name: str) -> Path:
    """Return the folder that a run of this name will get: counted up, as training does."""
    count = 1
    while (folder := out / (name if count == 1 else f"{name}-{count}")).exists():
        count += 1
    return folder


def command(*words: object) -> None:
    """Print a command, then run it. Raises ResnetlabError with its own exit code where it fails."""
    texts = [str(word) for word in words]
    print(f"\n$ resnetlab {' '.join(texts)}", flush=True)
    code = subprocess.run([sys.executable, "-m", "resnetlab", *texts], check=False).returncode
    if code:
        error = ResnetlabError(f"the demo's command 'resnetlab {' '.join(texts)}' failed")
        error.exit_code = code
        raise error
