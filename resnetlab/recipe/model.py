"""Which network, and what it starts from."""

from typing import Annotated, Literal

from pydantic import Field

from resnetlab.recipe.base import Auto, Positive, Section


class Lora(Section):
    """Low-rank adapters: all weights stay, beside each learns a product of two thin matrices.

    Source: Hu et al. 2021, 'LoRA: Low-Rank Adaptation of Large Language Models', arXiv:2106.09685.
    """

    rank: Annotated[int, Field(ge=0)] = 0  # width of the product; 0: no adapters
    alpha: Annotated[float, Field(gt=0)] = 16.0  # the product counts alpha / rank
    # Names of layers that get one, with * and ?; those that can't have one are left out.
    targets: tuple[str, ...] = ("*",)
    adapters: str | None = None  # a file of adapters to begin with


class Model(Section):
    """Which network, and what it starts from."""

    name: str = "auto"  # one of ours, any of timm's, or a run or bundle to go on from
    candidates: tuple[str, ...] = ()  # networks of which the one with the best head is fine-tuned
    # none, imagenet, a tag of timm, a file, run or bundle, hf:user/name; auto: imagenet, where
    # the network takes images that large.
    weights: str = "auto"
    # weights: that of model.weights, a run or bundle, for the classes it knows; others begin anew
    head: Literal["new", "weights"] = "new"
    # First layers of our ResNets; small: for images of 64 px or less, which auto takes there.
    stem: Literal["imagenet", "small"] | Auto = "auto"
    hidden: tuple[Positive, ...] = ()  # widths of dense layers between the network and the last one
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # before every dense layer at the end
    # Times that images are doubled before the network.
    upsample: Annotated[int, Field(ge=0, le=4)] = 0
    pool: Literal["average", "flatten"] = "average"  # flatten: each place of the last map by itself
    # Chance that the last residual block is skipped, less for those before (Huang et al. 2016).
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    lora: Lora = Lora()  # low-rank adapters
    # The last stage that doesn't learn, such as layer3; all: but the head. auto: none, but the stages
    # that cost most where the packaged network is fine-tuned on a processor with 600 images or more.
    freeze: str = "auto"
