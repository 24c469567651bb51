"""Every network of timm keeps the contract that all else rests on."""

import pytest
import torch

from resnetlab.errors import RecipeError
from resnetlab.models import build
from resnetlab.models.classifier import freeze
from resnetlab.models.networks.timm_network import TimmNetwork
from resnetlab.models.stages import stage_table

# Families, each by its smallest member: convolutional ones first, then transformers and mixers.
FAMILIES = [
    "resnet10t", "seresnext26d_32x4d", "regnetx_002", "regnety_002", "densenet121", "dla46_c",
    "hrnet_w18_small", "mobilenetv3_small_050", "mobilenetv4_conv_small_035", "mnasnet_small", "lcnet_050",
    "tinynet_e", "tf_efficientnet_lite0", "repvgg_a0", "convnext_atto", "convnextv2_atto",
    "edgenext_xx_small", "inception_next_atto", "poolformer_s12", "ese_vovnet19b_dw", "efficientvit_b0",
    "mobilevit_xxs", "vit_tiny_patch16_224", "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224",
    "levit_128s", "mixer_s32_224", "xcit_nano_12_p16_224",
]  # fmt: skip
PX = 64


@pytest.fixture(scope="module", params=FAMILIES)
def classifier(request):
    torch.manual_seed(0)
    return build(request.param, 3, PX).eval()


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 3, PX, PX), dtype=torch.uint8, generator=generator)


def test_features_and_logits_have_their_shapes(classifier, images):
    backbone = classifier.backbone
    with torch.inference_mode():
        assert backbone.features(classifier.normalise(images)).shape == (2, backbone.feature_dim)
        assert classifier(images).shape == (2, 3)


def test_stages_give_what_the_network_itself_does(classifier, images):
    backbone = classifier.backbone
    with torch.inference_mode():
        normalised = classifier.normalise(images)
        expected = backbone.net.forward_head(
            backbone.net.forward_features(normalised), pre_logits=True
        )
        torch.testing.assert_close(backbone.features(normalised), expected, atol=1e-3, rtol=1e-3)


def test_every_parameter_belongs_to_a_stage(classifier):
    stages = classifier.backbone.stages()
    for name, _ in classifier.backbone.named_parameters():
        assert classifier.backbone.stage_of(name) in stages


def test_what_is_frozen_and_the_rest_are_together_the_network(classifier, images):
    stages = list(classifier.backbone.stages())
    middle = stages[len(stages) // 2] if classifier.backbone.chain else "all"
    try:
        for last in (middle, "all"):
            freeze(classifier.requires_grad_(True), last)
            with torch.inference_mode():
                torch.testing.assert_close(
                    classifier.rest(classifier.prefix(images)), classifier(images)
                )
            learning = {name for name, p in classifier.named_parameters() if p.requires_grad}
            assert not learning & classifier.frozen_names()
            assert {"head.weight", "head.bias"} <= learning
    finally:
        freeze(classifier.requires_grad_(True), "none")


def test_the_table_of_stages_adds_up(classifier):
    total = stage_table(classifier, PX)[-1]

    assert total.parameters == sum(p.numel() for p in classifier.parameters())
    assert total.output_shape == (3,)


def test_a_tag_or_the_prefix_may_stand_in_the_name():
    assert build("timm/resnet10t.c3_in1k", 3, PX).backbone.feature_dim == 512


def test_a_name_of_ours_is_ours():
    assert not isinstance(build("resnet18", 3, PX).backbone, TimmNetwork)


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'convnext_tiny'"):
        build("convnex_tiny", 3, PX)


def test_a_network_that_takes_no_images_of_the_size_says_so():
    with pytest.raises(RecipeError, match="64 px"):
        build("crossvit_tiny_240", 3, PX)


def test_a_stem_that_is_not_there_can_not_be_chosen():
    with pytest.raises(RecipeError, match=r"model\.stem must be 'auto' for resnet10t"):
        build("resnet10t", 3, PX, "small")
