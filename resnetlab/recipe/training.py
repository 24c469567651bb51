"""How a network learns."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from resnetlab.recipe.base import Auto, Fraction, Monitor, Positive, Section

# Settings that may differ between the machines of one search, or of repeats.
OF_THE_MACHINE = {
    "device",
    "precision",
    "feature_precision",
    "threads",
    "checkpoint_minutes",
    "log",
}


class Training(Section):
    """The optimisation. What auto means depends on whether it starts from published weights."""

    # Passes over the training images; 0: the head alone, fitted on features. auto: 3 to 30 by the
    # number of images, 20 on a GPU; from scratch 30.
    epochs: Annotated[int, Field(ge=0)] | Auto = "auto"
    batch_size: Positive = 32  # images in a batch
    # The highest learning rate; auto: by optimiser, number of images and epochs, printed beforehand.
    lr: Annotated[float, Field(gt=0)] | Auto = "auto"
    # lr of a stage by the next one's; auto: 0.8 for AdamW from published weights, else 1.
    layer_decay: Annotated[float, Field(gt=0, le=1)] | Auto = "auto"
    stage_lr: dict[str, Annotated[float, Field(gt=0)]] = {}  # lr of single stages, by name
    # Fit the head by logistic regression on the features first (Kumar et al. 2022, LP-FT): a model at once;
    # what learns on begins with a more regularised one.
    head_first: bool | Auto = "auto"
    # Gradual unfreezing: from the last one on, a stage more begins to learn after so many epochs each
    # (Howard and Ruder 2018, ULMFiT); None: all learn from the start.
    unfreeze_epochs: Annotated[float, Field(gt=0)] | None = None
    # Batch norms keep the statistics that they came with; auto: where fewer than 500 images fine-tune.
    freeze_norms: bool | Auto = "auto"
    # Where several processes share a batch: batch norms go by all its images, not by each one's part.
    sync_batchnorm: bool = False
    head_lr: Annotated[float, Field(gt=0)] | None = None  # of the last layer; None: lr
    bias_lr: Annotated[float, Field(gt=0)] | None = None  # of all other biases and norms; None: lr
    # auto: adamw from published weights, else sgd.
    optimizer: Literal["sgd", "adam", "adamw", "muon"] | Auto = "auto"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # of SGD, Nesterov's
    # Never on biases and norms; auto: 0.02 from published weights, else 0.0005.
    weight_decay: Annotated[float, Field(ge=0)] | Auto = "auto"
    # How lr goes on from its highest, after the warm-up.
    schedule: Literal["constant", "step", "linear", "cosine", "onecycle", "plateau"] = "cosine"
    # lr rises so long; auto: a tenth of the epochs from published weights, else 1.
    warmup_epochs: Annotated[float, Field(ge=0)] | Auto = "auto"
    step_epochs: Positive = 10  # step: lr is multiplied by step_factor every so many epochs
    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.1  # of step and plateau
    # plateau: epochs without a better score (without validation: training loss) before lr falls
    plateau_epochs: Positive = 3
    # focal: the surely right count less (Lin et al. 2017); binary: each class against all others
    loss: Literal["cross_entropy", "focal", "binary"] = "cross_entropy"
    focal_gamma: Annotated[float, Field(ge=0)] = 2.0  # of focal: 0 is cross_entropy
    # balanced: in inverse proportion to the images of a class; effective: Cui et al. 2019; or by name
    class_weights: (
        Literal["none", "balanced", "effective"] | dict[str, Annotated[float, Field(gt=0)]]
    ) = "none"
    # Logits learn beside this much of the classes' log frequency (Menon et al. 2021); 1 is customary.
    logit_adjustment: Annotated[float, Field(ge=0)] = 0.0
    # balanced: an epoch shows each class as often; square_root: by the root of its number of images
    sampler: Literal["shuffled", "balanced", "square_root"] = "shuffled"
    # Share of a label that goes to all classes; auto: 0.1 from published weights, else 0.
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] | Auto = "auto"
    mixup: Annotated[float, Field(ge=0)] = 0.0  # alpha: 0.2 lays images lightly over each other
    cutmix: Annotated[float, Field(ge=0)] = 0.0  # alpha: 1 pastes boxes of any size; both: by turns
    # What restoring the image counts beside its class (mean squared error of values in 0 to 1), for
    # networks with a decoder; auto: 10 for those.
    reconstruction: Annotated[float, Field(ge=0)] | Auto = "auto"
    # A gradient of a larger norm is scaled to it; auto: 1 from published weights, else none.
    clip_norm: Annotated[float, Field(gt=0)] | Auto | None = "auto"
    # Decay of the averaged weights, such as 0.999.
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    # The mean of the weights at the ends of epochs, from this share of them on (Izmailov et al. 2018)
    swa_from: Fraction | None = None
    accumulate: Positive = 1  # batches that make one step
    # Augmented views of each image whose frozen features are kept; 0 computes them in each epoch.
    frozen_views: Annotated[int, Field(ge=0)] | Auto = "auto"
    # Smaller images at first: from start_size (px), growing evenly to data.image_size, which is
    # reached after full_size_from of the epochs. auto: two thirds where the packaged network is
    # fine-tuned on a processor, from 600 images on (of a folder that isn't divided, all of them).
    start_size: Annotated[int, Field(ge=8, le=2048)] | Auto | None = "auto"
    full_size_from: Fraction = 0.7  # see start_size
    # auto: bf16 where a trial shows that this machine gains by it.
    precision: Literal["fp32", "bf16"] | Auto = "auto"
    # The same where features are computed for head_first.
    feature_precision: Literal["fp32", "bf16"] | Auto = "auto"
    device: Literal["cpu", "cuda"] | Auto = "auto"  # auto: cuda where there is one
    # Threads of the network on a processor; adaptive: as many as are fastest, tried anew where other
    # programs come or go. Each number gives other bits; history.csv tells which one computed an epoch.
    threads: Positive | Auto | Literal["adaptive"] = "auto"
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0  # between two checkpoints in an epoch
    # On validation; decides which epoch is the best. auto: accuracy, or balanced_accuracy where one
    # class has more than twice the images of another.
    monitor: Monitor | Auto = "auto"
    patience: Positive | None = None  # early stopping: epochs without a better score
    # A loss that is not finite ends the run, or sends it back to its last checkpoint at half the lr.
    on_divergence: Literal["stop", "restart"] = "stop"
    # Who is told beside history.csv: tensorboard, by event files; mlflow, at MLFLOW_TRACKING_URI.
    log: Literal["tensorboard", "mlflow"] | None = None

    @model_validator(mode="after")
    def one_average(self) -> "Training":
        """Weights are averaged in one way."""
        if self.ema is not None and self.swa_from is not None:
            raise ValueError("ema and swa_from are two ways to average weights; set one of them")
        return self
