"""Any image network of timm, without its head: convolutional networks and transformers alike."""

from typing import Any

import torch
from torch import Tensor, nn

from resnetlab.errors import RecipeError, one_line
from resnetlab.models.classifier import Backbone, run

PREFIX = "timm/"  # may stand before a name, where one of ours would be meant otherwise
CONTAINERS = ("blocks", "features", "layers", "stages")  # each of their items is a stage of its own
PROBE_PX = 64  # side of the random image that shows whether the stages are a chain
TOLERANCE = 1e-4


class TimmNetwork(Backbone):
    """A network of timm for square images of `image_size` px, fresh weights.

    With a `pool` of 'flatten' all places of its last map are its features, `drop_path` is the chance
    that training skips its last block.

    Its stages are its children; long containers of blocks are divided into their items. Where running
    them one after the other gives the network's own features, which is tried, it is a chain.

    Raises:
        RecipeError: timm has no such network, or it takes no images of this size, no pool or no
            drop_path.

    """

    prefix = "net."

    def __init__(
        self, name: str, image_size: int, pool: str = "average", drop_path: float = 0.0
    ) -> None:
        super().__init__()
        settings: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
        if pool == "flatten":
            settings["global_pool"] = ""
        self.any_size, self.net = _create(name, image_size, settings)
        self.flattens = pool == "flatten"
        self.any_size = self.any_size and not self.flattens
        self.channels_last = str(getattr(self.net, "output_fmt", "NCHW")) == "NHWC"
        self.prefix_tokens = int(getattr(self.net, "num_prefix_tokens", 0))
        self.config: dict[str, Any] = dict(self.net.pretrained_cfg)
        head = self.config.get("classifier") or ()
        self.classifier_names = (head,) if isinstance(head, str) else tuple(head)
        self.stage_names = _stage_names(self.net, self.classifier_names)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            image, features = self._probe(image_size if not self.any_size else PROBE_PX, image_size)
            self.feature_dim = features.shape[1]
            self.chain = self._is_chain(image, features)
        self.net.train()

    def stages(self) -> dict[str, nn.Module]:
        """Return the stages by name, in the order they run."""
        return {name: self.net.get_submodule(name) for name in self.stage_names}

    def features(self, images: Tensor) -> Tensor:
        """Turn normalised float images (N, 3, H, W) into features (N, D)."""
        if self.chain:
            return super().features(images)
        features: Tensor = self.net.forward_head(self.net.forward_features(images), pre_logits=True)
        return features.flatten(1)

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return published weights under this backbone's names, without their classifier."""
        heads = tuple(f"{name}." for name in self.classifier_names)
        return {
            self.prefix + name: tensor
            for name, tensor in state.items()
            if not (heads and name.startswith(heads))
        }

    def _probe(self, size: int, largest: int) -> tuple[Tensor, Tensor]:
        """Return a random image and its features (1, D), at `largest` px where `size` is too small."""
        image = torch.randn(1, 3, size, size)
        net = self.net.eval()
        try:
            features = net.forward_head(net.forward_features(image), pre_logits=True)
        except (RuntimeError, ValueError, AssertionError) as error:
            if size < largest:
                return self._probe(largest, largest)
            raise RecipeError(
                f"model.name: this network takes no images of {size} px ({one_line(error)})"
            ) from error
        if features.ndim != 2 and not self.flattens:
            raise RecipeError("model.name: this network of timm gives no features; choose another")
        return image, features.flatten(1)

    def _is_chain(self, image: Tensor, features: Tensor) -> bool:
        try:
            chained = run(self.stages().values(), image).flatten(1)
        except Exception:  # whatever a network says to inputs that it was not made for
            return False
        same_shape = chained.shape == features.shape
        return same_shape and torch.allclose(chained, features, atol=TOLERANCE, rtol=TOLERANCE)


def timm_name(name: str) -> str | None:
    """Return the name by which timm knows a network, with its tag if given; None for none of timm's."""
    import timm  # seconds, for those who ask

    plain = name.removeprefix(PREFIX)
    return plain if timm.is_model(plain.partition(".")[0]) else None


def timm_names() -> list[str]:
    """Return the names of all networks of timm, without tags."""
    import timm

    return list(timm.list_models())


def _create(name: str, image_size: int, settings: dict[str, Any]) -> tuple[bool, Any]:
    """Return whether a network takes images of any size, and the network without its head."""
    import timm

    try:
        # Transformers with one size are made for the one that is asked for.
        return False, timm.create_model(name, num_classes=0, img_size=image_size, **settings)
    except TypeError:  # a network that knows no such argument takes any size
        return True, _create_any_size(name, settings)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise RecipeError(
            f"model.name: {name} can't be made for images of {image_size} px ({error})"
        ) from error


def _create_any_size(name: str, settings: dict[str, Any]) -> Any:
    import timm

    try:
        return timm.create_model(name, num_classes=0, **settings)
    except TypeError as error:
        raise RecipeError(
            f"model.name: {name} has no blocks to skip or no pool to leave out; set model.drop_path=0 and "
            f"model.pool=average ({error})"
        ) from error


def _stage_names(net: nn.Module, classifier: tuple[str, ...]) -> tuple[str, ...]:
    names: list[str] = []
    for name, child in net.named_children():
        if name in CONTAINERS and isinstance(child, nn.Sequential | nn.ModuleList):
            names += [f"{name}.{item}" for item, _ in child.named_children()]
        elif name not in classifier:
            names.append(name)
    return tuple(names)
