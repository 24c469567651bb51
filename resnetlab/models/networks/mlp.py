"""The smallest network: one hidden layer on the raw pixels."""

from torch import nn

from resnetlab.models.classifier import Backbone


class MLP(Backbone):
    """Flatten, dense 64 with ReLU: a floor that any convolutional network must beat."""

    feature_dim = 64
    any_size = False

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.dense = nn.Linear(3 * image_size**2, self.feature_dim)
        self.relu = nn.ReLU()
        init_as_keras(self.dense)

    def init_head(self, head: nn.Linear) -> None:
        """Start the head as the rest of the network."""
        init_as_keras(head)


def init_as_keras(layer: nn.Linear | nn.Conv2d) -> None:
    """Set Glorot uniform weights and zero biases, Keras's default.

    PyTorch starts wide layers with weights up to 2.4 times smaller, and with random biases.
    Source: Glorot and Bengio 2010, 'Understanding the difficulty of training deep feedforward
    neural networks'.
    """
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
