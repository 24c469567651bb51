"""resnetlab turns a folder of labelled images into a classifier whose quality is known.

Every verb of the command line but demo, models and recipes is a function here: inspect, train, predict, ...
"""

from typing import Any

__all__ = [
    "ImageClassifier",
    "Recipe",
    "augment",
    "cache",
    "combine",
    "compare",
    "evaluate",
    "evaluate_bundle",
    "evaluate_predictions",
    "export",
    "find_lr",
    "inspect",
    "label_errors",
    "load",
    "load_recipe",
    "make",
    "predict",
    "push",
    "recipe_from",
    "reproduce",
    "resume",
    "serve",
    "suggest",
    "train",
    "tune",
]


def __getattr__(name: str) -> Any:
    """Load a verb when it is first asked for: importing resnetlab itself does nothing."""
    if name in {"Recipe", "load_recipe"}:
        from resnetlab import recipe

        return getattr(recipe, name)
    if name in __all__:
        from resnetlab import workflows

        return getattr(workflows, name)
    raise AttributeError(f"module 'resnetlab' has no attribute '{name}'")
