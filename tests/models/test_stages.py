import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from resnetlab.models import Backbone, build
from resnetlab.models.classifier import freeze
from resnetlab.models.networks.resnet import resnet50
from resnetlab.models.stages import Stage, stage_table


def on_meta(name: str, num_classes: int = 1000, image_size: int = 224):
    with torch.device("meta"):
        return build(name, num_classes, image_size)


def test_resnet50_at_224_px_has_the_shapes_of_the_paper():
    rows = stage_table(on_meta("resnet50"), 224)

    assert [(row.name, row.input_shape, row.output_shape) for row in rows] == [
        ("conv1", (3, 224, 224), (64, 112, 112)),
        ("bn1", (64, 112, 112), (64, 112, 112)),
        ("relu", (64, 112, 112), (64, 112, 112)),
        ("maxpool", (64, 112, 112), (64, 56, 56)),
        ("layer1", (64, 56, 56), (256, 56, 56)),
        ("layer2", (256, 56, 56), (512, 28, 28)),
        ("layer3", (512, 28, 28), (1024, 14, 14)),
        ("layer4", (1024, 14, 14), (2048, 7, 7)),
        ("avgpool", (2048, 7, 7), (2048,)),
        ("head", (2048,), (1000,)),
        ("total", (3, 224, 224), (1000,)),
    ]


def test_resnet50_has_25_6_million_parameters_and_4_1_billion_multiply_adds():
    *rows, total = stage_table(on_meta("resnet50"), 224)

    assert total.parameters == sum(row.parameters for row in rows) == 25_557_032
    assert total.macs == sum(row.macs for row in rows) == 4_089_184_256


def test_a_bare_backbone_has_no_head():
    with torch.device("meta"):
        backbone = resnet50(224)
    rows = stage_table(backbone, 224)

    assert rows[-2].name == "avgpool"
    assert rows[-1].parameters == 23_508_032
    assert rows[-1].output_shape == (2048,)


def test_kinds_are_said_in_words():
    kinds = {row.name: row.kind for row in stage_table(on_meta("resnet50"), 224)}

    assert kinds["conv1"] == "conv 7x7/2"
    assert kinds["maxpool"] == "max pool 3x3/2"
    assert [kinds[f"layer{i}"] for i in (1, 2, 3, 4)] == [
        "3 x Bottleneck",
        "4 x Bottleneck",
        "6 x Bottleneck",
        "3 x Bottleneck",
    ]
    assert kinds["head"] == "Linear"


def test_the_small_stem_shows_no_pool():
    names = [row.name for row in stage_table(on_meta("resnet18", 10, 32), 32)]

    assert names[:4] == ["conv1", "bn1", "relu", "layer1"]


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet18", "resnet50"])
def test_multiply_adds_are_half_of_pytorchs_count_of_operations(name):
    classifier = on_meta(name, 10, 32).eval()
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8, device="meta")

    with FlopCounterMode(display=False) as counter:
        classifier(images)

    assert stage_table(classifier, 32)[-1].macs == counter.get_total_flops() / 2


class Detour(Backbone):
    """Runs its layers in another order than it names them, and one of them never."""

    feature_dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(6, 8, 1, groups=2)
        self.unused = nn.Linear(3, 3)
        self.first = nn.Conv2d(3, 6, (3, 1), bias=False)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(images)).mean((2, 3))


def test_rows_come_in_the_order_of_execution_and_only_for_what_ran():
    rows = stage_table(Detour(), 8)

    assert rows == [
        Stage("first", "conv 3x1", (3, 8, 8), (6, 6, 8), 54, 6 * 6 * 8 * 3 * 3, True),
        Stage("last", "conv 1x1", (6, 6, 8), (8, 6, 8), 32, 8 * 6 * 8 * 3, True),
        # all parameters, those of the layer that never ran too
        Stage("total", "", (3, 8, 8), (8,), 54 + 32 + 12, 2592 + 1152, True),
    ]


def test_the_table_says_which_stages_learn():
    classifier = on_meta("resnet18", 10, 32)
    freeze(classifier, "layer3")

    rows = stage_table(classifier, 32)

    assert [row.name for row in rows if row.learns] == ["layer4", "head", "total"]
    assert rows[-1].parameters == sum(row.parameters for row in rows[:-1])


def test_the_model_is_left_as_it_was():
    classifier = build("resnet18", 10, 16).train()
    classifier.backbone.layer1.eval()
    modes = [module.training for module in classifier.modules()]
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    torch.manual_seed(0)
    state = torch.get_rng_state()

    assert stage_table(classifier, 16) == stage_table(classifier, 16)

    assert [module.training for module in classifier.modules()] == modes
    assert all(torch.equal(before[key], value) for key, value in classifier.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks for module in classifier.modules())
