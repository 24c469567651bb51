"""A checkpoint comes back to the bit, or not at all."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from resnetlab.errors import CheckpointError
from resnetlab.training.checkpoint import load_checkpoint, save_checkpoint

PROGRESS = {"history": [{"epoch": 1, "val_loss": 0.1 + 0.2, "val_accuracy": None}]}
KINDS = {
    "sgd": lambda network: torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=0.9, nesterov=True, fused=True
    ),
    "adamw": lambda network: torch.optim.AdamW(network.parameters(), lr=0.1, fused=True),
}


def small_network(classes: int = 3) -> nn.Module:
    """A bit of everything: a convolution (channels last), a norm with its buffers, a dense layer."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 4, classes)
    )
    return network.to(memory_format=torch.channels_last)


def step(network: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    optimizer.zero_grad()
    network(torch.randn(5, 3, 4, 4)).square().sum().backward()
    optimizer.step()


def bits(state) -> list[bytes]:
    return [tensor.detach().contiguous().numpy().tobytes() for tensor in state]


def moments(optimizer: torch.optim.Optimizer) -> dict[tuple[int, str], bytes]:
    states = optimizer.state_dict()["state"]
    keys = [(index, name) for index, state in states.items() for name in state]
    return dict(zip(keys, bits(states[index][name] for index, name in keys), strict=True))


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    network = small_network()
    optimizer = KINDS["adamw"](network)
    step(network, optimizer, seed=1)
    save_checkpoint(tmp_path / "last.safetensors", network, optimizer, None, PROGRESS)
    return tmp_path / "last.safetensors"


@pytest.mark.parametrize("kind", KINDS)
def test_network_optimiser_and_progress_come_back_to_the_bit(tmp_path, kind):
    network = small_network()
    optimizer = KINDS[kind](network)
    for seed in range(3):
        step(network, optimizer, seed)
    save_checkpoint(tmp_path / "last.safetensors", network, optimizer, None, PROGRESS)

    other = small_network()
    other_optimizer = KINDS[kind](other)
    progress = load_checkpoint(tmp_path / "last.safetensors", other, other_optimizer)

    assert progress == PROGRESS
    assert bits(other.state_dict().values()) == bits(network.state_dict().values())
    assert moments(other_optimizer) == moments(optimizer) != {}


@pytest.mark.parametrize("kind", KINDS)
def test_what_came_back_goes_on_as_if_nothing_had_been(tmp_path, kind):
    network = small_network()
    optimizer = KINDS[kind](network)
    step(network, optimizer, seed=1)
    save_checkpoint(tmp_path / "last.safetensors", network, optimizer, None, PROGRESS)
    other = small_network()
    other_optimizer = KINDS[kind](other)
    load_checkpoint(tmp_path / "last.safetensors", other, other_optimizer)

    for each, its_optimizer in ((network, optimizer), (other, other_optimizer)):
        step(each, its_optimizer, seed=2)

    assert bits(other.state_dict().values()) == bits(network.state_dict().values())
    assert moments(other_optimizer) == moments(optimizer)


def test_weights_come_back_without_an_optimiser(checkpoint):
    network = small_network()

    assert load_checkpoint(checkpoint, network) == PROGRESS


def test_progress_that_is_no_json_is_refused_and_the_old_checkpoint_stands(checkpoint):
    network = small_network()
    before = checkpoint.read_bytes()

    with pytest.raises(ValueError, match="not JSON compliant"):
        save_checkpoint(checkpoint, network, KINDS["sgd"](network), None, {"loss": float("nan")})

    assert checkpoint.read_bytes() == before


def refuses(path: Path) -> str:
    """Return the complaint about a checkpoint; nothing of it may have been loaded."""
    network = small_network()
    optimizer = KINDS["adamw"](network)
    before = bits(network.state_dict().values())

    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, network, optimizer)

    assert caught.value.exit_code == 4
    assert str(caught.value).startswith(f"{path}: ")
    assert bits(network.state_dict().values()) == before
    assert moments(optimizer) == {}
    return str(caught.value)


def header_bytes(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def test_one_flipped_bit_of_the_weights_is_noticed(checkpoint):
    sound = checkpoint.read_bytes()
    start = header_bytes(sound)

    for position in (start, start + 1, (start + len(sound)) // 2, len(sound) - 1):
        content = bytearray(sound)
        content[position] ^= 0b1000
        checkpoint.write_bytes(content)
        assert refuses(checkpoint) == f"{checkpoint}: is damaged (its checksum differs)"


@pytest.mark.parametrize("bit", range(8))
def test_one_flipped_bit_of_the_header_is_noticed(checkpoint, bit):
    """Names, shapes, types, progress and the checksum itself; every 41st byte is looked at."""
    sound = checkpoint.read_bytes()

    for position in range(bit, header_bytes(sound), 41):
        content = bytearray(sound)
        content[position] ^= 1 << bit
        checkpoint.write_bytes(content)
        refuses(checkpoint)


def test_a_figure_changed_in_the_progress_is_noticed(checkpoint):
    sound = checkpoint.read_bytes()
    figure = str(0.1 + 0.2).encode()
    assert sound.count(figure) == 1

    checkpoint.write_bytes(sound.replace(figure, figure[:-1] + b"5"))

    assert refuses(checkpoint) == f"{checkpoint}: is damaged (its checksum differs)"


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_file_that_was_cut_is_noticed(checkpoint, share):
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(share * len(content))])

    assert "can't be read" in refuses(checkpoint)


def test_a_missing_file_is_named(tmp_path):
    assert "can't be read" in refuses(tmp_path / "none.safetensors")


def test_another_safetensors_file_is_no_checkpoint(tmp_path):
    from safetensors.torch import save_file

    save_file({"0.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "weights.safetensors")

    assert "is damaged (its checksum differs)" in refuses(tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    ("change", "misfit"),
    [
        (
            lambda net: net.__setitem__(3, nn.Linear(16, 5)),
            "3.weight has shape (5, 16), not (3, 16)",
        ),
        (lambda net: net.__setitem__(1, nn.Identity()), "1.weight is missing"),
        (lambda net: net.append(nn.Linear(3, 3)), "4.bias is unknown to it"),
    ],
)
def test_the_checkpoint_of_another_network_is_refused_before_anything_is_loaded(
    tmp_path, change, misfit
):
    other = small_network()
    change(other)
    save_checkpoint(tmp_path / "last.safetensors", other, KINDS["adamw"](other), None, PROGRESS)

    complaint = refuses(tmp_path / "last.safetensors")

    named = f"{tmp_path / 'last.safetensors'}: does not fit this network ({misfit}); it holds a network of "
    assert complaint.startswith(named)


def test_a_checkpoint_holds_no_pickle(checkpoint):
    content = checkpoint.read_bytes()

    metadata = json.loads(content[8 : header_bytes(content)])["__metadata__"]
    assert metadata.keys() == {"resnetlab"}
    assert json.loads(metadata["resnetlab"]).keys() == {"progress", "sha256"}


def test_saving_the_same_state_twice_gives_the_same_file(tmp_path):
    model = small_network()
    optimizer = KINDS["adamw"](model)
    for name in ("first", "second"):
        save_checkpoint(tmp_path / name, model, optimizer, None, PROGRESS)

    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
