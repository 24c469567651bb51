"""The verbs: the only place that joins the layers.

Torch takes seconds to load; what needs it is imported where it is used, so that `inspect`, `compare`
and `--help` answer at once.
"""

from resnetlab.workflows.continuing import recipe_from
from resnetlab.workflows.data import augment, cache, inspect, make
from resnetlab.workflows.evidence.comparing import compare
from resnetlab.workflows.evidence.labels import label_errors
from resnetlab.workflows.evidence.tables import evaluate_predictions
from resnetlab.workflows.lr_finder import find_lr
from resnetlab.workflows.reproducing import reproduce
from resnetlab.workflows.results import evaluate, evaluate_bundle, predict
from resnetlab.workflows.resuming import resume
from resnetlab.workflows.training import train
from resnetlab.workflows.tuning import tune

__all__ = [
    "augment",
    "cache",
    "compare",
    "evaluate",
    "evaluate_bundle",
    "evaluate_predictions",
    "find_lr",
    "inspect",
    "label_errors",
    "make",
    "predict",
    "recipe_from",
    "reproduce",
    "resume",
    "train",
    "tune",
]
