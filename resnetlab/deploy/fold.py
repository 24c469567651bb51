"""Batch norm folded into the convolution before it: the same predictions with a layer less."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from resnetlab.deploy.tracing import alone
from resnetlab.models.classifier import Classifier
from resnetlab.models.parts import PartsClassifier


def folded(classifier: Classifier) -> Classifier:
    """Return a copy, in evaluation mode, whose norms are part of their convolutions where they can be.

    A norm is a scale and an offset a channel once training is over. What can't be followed from
    layer to layer stays as it is.
    """
    classifier = copy.deepcopy(classifier).eval()
    if isinstance(classifier, PartsClassifier):
        classifier.part = folded(classifier.part)
        return classifier
    backbone = classifier.backbone
    for conv_name, norm_name in foldable(backbone):
        conv, norm = backbone.get_submodule(conv_name), backbone.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        backbone.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm))
        # timm's norms have the activation that follows them within.
        backbone.set_submodule(norm_name, getattr(norm, "act", nn.Identity()))
    return classifier.eval()  # what took a norm's place too


def calibrated(classifier: Classifier, temperature: float) -> Classifier:
    """Divide a classifier's logits by a temperature, in place and within its last layer; return it.

    So every runtime that computes or converts it gives calibrated probabilities.
    """
    with torch.no_grad():
        for parameter in classifier.head.parameters():
            parameter.div_(temperature)
    return classifier


class LayerTracer(torch.fx.Tracer):
    """Follows a network from layer to layer; convolutions and norms of others are layers like PyTorch's."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a module is taken as a whole."""
        return isinstance(m, nn.Conv2d | nn.BatchNorm2d) or super().is_leaf_module(
            m, module_qualified_name
        )


def foldable(network: nn.Module) -> list[tuple[str, str]]:
    """Return the names of each convolution and the norm that alone takes what it gives."""
    try:
        with alone:
            graph = LayerTracer().trace(network)
    except Exception:  # a user's own network may branch on its values, which can't be traced
        return []
    layers = dict(network.named_modules())
    calls = [node for node in graph.nodes if node.op == "call_module"]
    names = [str(node.target) for node in calls]
    pairs = []
    for node in calls:
        before = node.args[0] if node.args else None
        if not isinstance(before, torch.fx.Node) or before.op != "call_module":
            continue
        pair = str(before.target), str(node.target)
        once = all(names.count(name) == 1 for name in pair) and len(before.users) == 1
        if once and fits(layers[pair[0]], layers[pair[1]]):
            pairs.append(pair)
    return pairs


def fits(layer: nn.Module, norm: nn.Module) -> bool:
    """Return whether a layer and the next are a convolution and a norm by stored moments."""
    return (
        isinstance(layer, nn.Conv2d)
        and isinstance(norm, nn.BatchNorm2d)
        and norm.running_mean is not None
    )
