"""EfficientNet-Lite0 with its packaged weights, and the images that it is fine-tuned on."""

from pathlib import Path
from typing import Any

from benchmarks.images import files_in, made_once, photographs
from benchmarks.input import BATCH
from benchmarks.plan import Settings

NETWORK = "tf_efficientnet_lite0"
HALF = (0.5, 0.5, 0.5)  # mean and deviation that its weights were trained with
VALIDATION = 5  # one image in so many validates


def divided(settings: Settings) -> Path:
    """Return a folder with train/ and val/, divided by ours: copies stay together."""
    from resnetlab.data.dataset import divide, read_data
    from resnetlab.data.export import export_split

    share = 1 / VALIDATION
    recipe = recipe_for(settings, **{"data.split": [1 - share, share, 0.0]})
    source = photographs(settings)

    def make(folder: Path) -> None:
        folder.rmdir()
        export_split(divide(read_data(source, recipe).catalog, recipe), folder)

    return made_once(settings, f"divided {source} {share}", make)


def classes_of(settings: Settings) -> int:
    """Return the number of classes."""
    return len({path.parent.name for path in files_in(divided(settings) / "train")})


def recipe_for(settings: Settings, **values: Any) -> Any:
    """Return our recipe for the rates: all of the network, one size, no time for a head."""
    from resnetlab.recipe import Recipe

    keys = {
        "data.image_size": settings.size,
        "data.max_problem_frac": 1.0,  # some collections hold copies under two labels
        "data.workers": 2,
        "model.freeze": "none",
        "model.name": NETWORK,
        "training.head_first": False,
        "training.start_size": None,
        "training.epochs": 30,
        "training.batch_size": BATCH,
    }
    return Recipe().override(keys | values)


def pretrained(classes: int) -> Any:
    """Return timm's network with the packaged weights and a fresh head."""
    import timm

    from resnetlab.models import build
    from resnetlab.models.pretrained import load_weights

    filled = build(NETWORK, classes, 224)
    load_weights(filled, "imagenet", NETWORK)
    network = timm.create_model(NETWORK, num_classes=classes)
    theirs = filled.backbone.net.state_dict()
    missing, unexpected = network.load_state_dict(theirs, strict=False)
    assert not unexpected
    assert all("classifier" in name for name in missing)
    return network
