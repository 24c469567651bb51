"""The verbs: the only place that joins the layers.

Each is loaded when it is first asked for, and torch, which takes seconds, where it is used: so that
`predict` from an exported model, `inspect`, `compare` and `--help` answer at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnetlab.workflows.data import augment, cache, inspect, make
    from resnetlab.workflows.deployment.combining import combine
    from resnetlab.workflows.deployment.estimator import ImageClassifier, load
    from resnetlab.workflows.deployment.exporting import export
    from resnetlab.workflows.deployment.predicting import classify, predict
    from resnetlab.workflows.deployment.pushing import push
    from resnetlab.workflows.deployment.serving import serve
    from resnetlab.workflows.deployment.watching import watch
    from resnetlab.workflows.documents.telling import reproduce_document
    from resnetlab.workflows.evidence.comparing import compare
    from resnetlab.workflows.evidence.labels import label_errors
    from resnetlab.workflows.evidence.tables import evaluate_predictions
    from resnetlab.workflows.lr_finder import find_lr
    from resnetlab.workflows.reproducing import reproduce
    from resnetlab.workflows.results import evaluate, evaluate_bundle
    from resnetlab.workflows.resuming.continuing import recipe_from
    from resnetlab.workflows.resuming.resume import resume
    from resnetlab.workflows.training import train
    from resnetlab.workflows.tuning import tune

MODULES = {
    "ImageClassifier": "deployment.estimator",
    "augment": "data",
    "cache": "data",
    "classify": "deployment.predicting",
    "combine": "deployment.combining",
    "compare": "evidence.comparing",
    "evaluate": "results",
    "evaluate_bundle": "results",
    "evaluate_predictions": "evidence.tables",
    "export": "deployment.exporting",
    "find_lr": "lr_finder",
    "inspect": "data",
    "label_errors": "evidence.labels",
    "load": "deployment.estimator",
    "make": "data",
    "predict": "deployment.predicting",
    "push": "deployment.pushing",
    "recipe_from": "resuming.continuing",
    "reproduce": "reproducing",
    "reproduce_document": "documents.telling",
    "resume": "resuming.resume",
    "serve": "deployment.serving",
    "train": "training",
    "tune": "tuning",
    "watch": "deployment.watching",
}
__all__ = [
    "ImageClassifier",
    "augment",
    "cache",
    "classify",
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
    "make",
    "predict",
    "push",
    "recipe_from",
    "reproduce",
    "reproduce_document",
    "resume",
    "serve",
    "train",
    "tune",
    "watch",
]


def __getattr__(name: str) -> Any:
    """Load a verb when it is first asked for."""
    if name not in MODULES:
        raise AttributeError(f"module 'resnetlab.workflows' has no attribute '{name}'")
    return getattr(import_module(f"resnetlab.workflows.{MODULES[name]}"), name)
