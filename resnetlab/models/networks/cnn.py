"""A small convolutional network of the kind that Keras's CIFAR-10 example made common."""

from torch import nn

from resnetlab.models.classifier import Backbone
from resnetlab.models.networks.mlp import init_as_keras


class CNN(Backbone):
    """Two convolutions of 32, two of 64, each pair with max pool and dropout; dense 512.

    Source: Keras 2, `examples/cifar10_cnn.py`, for the dropout rates 0.25, 0.25 and 0.5. Every
    convolution is padded here; the example leaves the second of each pair unpadded.
    """

    feature_dim = 512
    any_size = False

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.block1 = _block(3, 32)
        self.block2 = _block(32, 64)
        self.flatten = nn.Flatten()
        pooled_px = image_size // 2 // 2
        self.dense = nn.Linear(64 * pooled_px**2, self.feature_dim)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(0.5)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                init_as_keras(layer)

    def init_head(self, head: nn.Linear) -> None:
        """Start the head as the rest of the network."""
        init_as_keras(head)


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    """(N, channels_in, H, W) -> (N, channels_out, H / 2, W / 2)."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding="same"),
        nn.ReLU(),
        nn.Conv2d(channels_out, channels_out, 3, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
    )
