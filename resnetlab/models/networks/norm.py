"""Batch norms that can learn from whatever batch there is."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class FromAnyBatch(_BatchNorm):
    """Goes by its running moments where a batch has one value a channel: that has none of its own."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise features (N, C) or maps (N, C, H, W)."""
        if self.training and x.numel() == self.num_features:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(x)


class BatchNorm1d(FromAnyBatch, nn.BatchNorm1d):
    """PyTorch's, of features (N, C), for batches of one too."""


class BatchNorm2d(FromAnyBatch, nn.BatchNorm2d):
    """PyTorch's, of maps (N, C, H, W), for batches of one too."""
