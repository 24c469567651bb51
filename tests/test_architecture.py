"""The arrows between the layers, held by a machine."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import resnetlab

PACKAGE = Path(resnetlab.__file__).parent
# Each layer may import from those before it, never from its own rank or after.
LAYERS = [
    {"errors"},
    {"recipe", "system"},
    {"data", "models", "evaluation"},
    {"runs"},
    {"training", "report"},
    {"deploy", "tuning"},
    {"workflows"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
MOST_FILES = 16  # in one folder: more is a hallway, not a room
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Return the absolute names of all modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_layer_imports_only_from_layers_before_it(path: Path) -> None:
    here = layer_of(path)
    for name in imports_of(path):
        if not name.startswith("resnetlab."):
            continue
        there = name.split(".")[1]
        if there == here:
            continue
        assert RANK[there] < RANK[here], f"{here} must not import {there}"


@pytest.mark.parametrize("layer", ["evaluation", "report"])
def test_layer_imports_no_torch(layer: str) -> None:
    for path in (PACKAGE / layer).rglob("*.py"):
        for name in imports_of(path):
            assert name.split(".")[0] not in {"torch", "torchvision", "lightning_fabric"}, path


def test_no_folder_holds_more_than_one_can_see_at_a_glance() -> None:
    for folder in {path.parent for path in MODULES}:
        assert len(list(folder.glob("*.py"))) <= MOST_FILES, folder


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = {module_name(path): path for path in MODULES}
    graph = {
        name: {owner(used, names) for used in imports_of(path)} for name, path in names.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def module_name(path: Path) -> str:
    dotted = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return f"resnetlab.{dotted}".removesuffix(".__init__")


def owner(imported: str, modules: dict[str, Path]) -> str:
    """Return the module that an imported name lives in: the longest that it begins with."""
    pieces = imported.split(".")
    candidates = (".".join(pieces[:length]) for length in range(len(pieces), 0, -1))
    return next((name for name in candidates if name in modules), "")


def test_import_loads_nothing_heavy() -> None:
    code = "import sys, resnetlab; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"torch", "numpy", "cv2", "matplotlib"} & set(loaded.stdout.split())


def test_help_loads_no_torch() -> None:
    code = "import sys; from resnetlab.cli.main import main; main(['--help']); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"torch", "cv2", "matplotlib", "pyarrow"} & set(loaded.stdout.split())


def test_verbs_load_torch_only_where_they_compute() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, resnetlab.workflows; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"torch", "timm", "sklearn"} & set(loaded.stdout.split()), "seconds, for every verb"
