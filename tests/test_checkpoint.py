"""The state of a run in one file: every bit comes back."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from texturenets.errors import UserError
from texturenets.modelfiles import modelfile
from texturenets.networks import build
from texturenets.networks.residual import Residual
from texturenets.train import checkpoint
from texturenets.train.checkpoint import TrainingState
from texturenets.train.optimizer import Muon

OPTIMIZERS = {
    "adam": lambda parameters: torch.optim.Adam(parameters, 1e-3),
    "muon": lambda parameters: Muon(parameters, 1e-3),
}
Pair = tuple[nn.Module, torch.optim.Optimizer]


def make(name: str, seed: int = 0) -> Pair:
    torch.manual_seed(seed)
    network = build(Residual(channels=8, blocks=1)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network, OPTIMIZERS[name](network.parameters())


def step(pair: Pair, count: int) -> None:
    """Steps with random images and a random loss: the random state counts too."""
    network, optimizer = pair
    for _ in range(count):
        optimizer.zero_grad()
        (network(torch.rand(2, 3, 32, 32)) * torch.rand(2, 3, 32, 32)).sum().backward()
        optimizer.step()


def state(**change: object) -> TrainingState:
    same = {"run": {"steps": 9, "set": ["a=1"]}, "photos": "abc"}
    return TrainingState(
        **{"step": 3, "seconds": 1.25, "best": 0.5, "best_step": 2, "fingerprint": same, **change}
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_after_it_are_those_without_interruption(name: str, tmp_path: Path) -> None:
    whole = make(name)
    step(whole, 3)
    assert checkpoint.save(tmp_path, state(), *whole) == tmp_path / checkpoint.NAME
    step(whole, 2)

    other = make(name, seed=1)
    checkpoint.restore(tmp_path, *other)
    step(other, 2)
    for (key, value), again in zip(
        whole[0].state_dict().items(), other[0].state_dict().values(), strict=True
    ):
        assert torch.equal(value, again), key
    before, after = whole[1].state_dict(), other[1].state_dict()
    assert before["param_groups"] == after["param_groups"]
    assert before["state"].keys() == after["state"].keys()
    for index, moments in before["state"].items():
        for key, value in moments.items():
            assert torch.equal(value, after["state"][index][key]), (index, key)
    assert torch.equal(torch.rand(3), _drawn_after(whole, name))


def _drawn_after(whole: Pair, name: str) -> torch.Tensor:
    """What is drawn after the five steps of the run that was not interrupted."""
    again = make(name)
    step(again, 5)
    return torch.rand(3)


@pytest.mark.parametrize("best", [None, 0.1234567890123456])
def test_state_comes_back_as_it_was(best: float | None, tmp_path: Path) -> None:
    was = state(best=best, scaler={"scale": 1024.0, "_growth_tracker": 7})
    checkpoint.save(tmp_path, was, *make("adam"))
    assert checkpoint.read_state(tmp_path) == was


def test_nothing_in_it_is_pickled(tmp_path: Path) -> None:
    pair = make("muon")
    step(pair, 1)
    checkpoint.save(tmp_path, state(), *pair)
    tensors = load_file(tmp_path / checkpoint.NAME)
    assert {key.partition(".")[0] for key in tensors} == {"network", "optimizer", "random"}
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.NAME]


def test_it_is_no_model_and_says_where_that_is(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, state(), *make("adam"))
    with pytest.raises(
        UserError, match=r"checkpoint .* no model: the model is best.safetensors or last.safetensors"
    ):
        modelfile.read_header(path)


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing to resume: .*leave out `resume`"):
        checkpoint.read_state(tmp_path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    pair = make("adam")
    path = checkpoint.save(tmp_path, state(), *pair)
    whole = path.read_bytes()
    for length in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="is not a checkpoint of texturenets"):
            checkpoint.read_state(tmp_path)
    tensors = {"random": torch.get_rng_state()}
    bad = [{"step": 10**400}, {"step": -1}, {"step": 1.5}, {"seconds": "1"}, {"seconds": float("nan")}]
    bad += [{"best": []}, {"best_step": None}, {"fingerprint": []}, {"scaler": 3}, {"mood": 1}]
    texts = [json.dumps({**vars(state()), **change}) for change in bad]
    for text in ("", "null", "[]", 60000 * "[", json.dumps({"step": 1}), *texts):
        written(tmp_path, text, tensors)
        with pytest.raises(UserError, match="is not a checkpoint of texturenets"):
            checkpoint.read_state(tmp_path)
    save_file(tensors, path)
    with pytest.raises(UserError, match="is not a checkpoint of texturenets"):
        checkpoint.read_state(tmp_path)


def written(folder: Path, text: str, tensors: dict[str, torch.Tensor]) -> Path:
    """A checkpoint with this state and these tensors, and the checksum that belongs to them."""
    path = folder / checkpoint.NAME
    save_file(tensors, path, {"state": text, "sha256": checkpoint._digest(text, tensors)})
    return path


def test_a_flipped_bit_or_a_changed_step_is_found_and_named(tmp_path: Path) -> None:
    pair = make("adam")
    step(pair, 1)
    path = checkpoint.save(tmp_path, state(), *pair)
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    for place in range(start, len(whole), 997):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        for read in (
            lambda: checkpoint.read_state(tmp_path),
            lambda: checkpoint.restore(tmp_path, *make("adam")),
        ):
            with pytest.raises(UserError, match=r"checkpoint.safetensors is damaged: its checksum .*`init`"):
                read()
    assert whole.count(rb"\"step\": 3") == 1
    path.write_bytes(whole.replace(rb"\"step\": 3", rb"\"step\": 4"))
    with pytest.raises(UserError, match="is damaged: its checksum"):
        checkpoint.read_state(tmp_path)
    path.write_bytes(whole)
    assert checkpoint.read_state(tmp_path) == state()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("random", torch.zeros(3)),
        ("random", torch.zeros(5000, dtype=torch.uint8)),
        ("optimizer.x.exp_avg", torch.zeros(1)),
        ("optimizer.999.exp_avg", torch.zeros(1)),
        ("optimizer.0", torch.zeros(1)),
        ("network.", torch.zeros(1)),
    ],
    ids=str,
)
def test_names_and_random_states_that_cannot_be_are_refused(
    key: str, value: torch.Tensor, tmp_path: Path
) -> None:
    pair = make("adam")
    step(pair, 1)
    tensors = load_file(checkpoint.save(tmp_path, state(), *pair))
    written(tmp_path, json.dumps(vars(state())), {**tensors, key: value})
    with pytest.raises(UserError, match="does not fit the network") as caught:
        checkpoint.restore(tmp_path, *make("adam"))
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, state(), *make("adam"))
    other = build(Residual(channels=16, blocks=1))
    with pytest.raises(UserError, match="does not fit the network"):
        checkpoint.restore(tmp_path, other, torch.optim.Adam(other.parameters()))


def test_a_checkpoint_that_lacks_a_part_is_refused(tmp_path: Path) -> None:
    pair = make("adam")
    step(pair, 1)
    path = checkpoint.save(tmp_path, state(), *pair)
    tensors = load_file(path)
    del tensors["random"]
    written(tmp_path, json.dumps(vars(state())), tensors)
    with pytest.raises(UserError, match="does not fit"):
        checkpoint.restore(tmp_path, *make("adam"))


def test_a_full_disk_keeps_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make("adam")
    path = checkpoint.save(tmp_path, state(), *pair)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("texturenets.networks.network_files.save_file", full)
    with pytest.raises(UserError, match=r"cannot write .*: No space left on device"):
        checkpoint.save(tmp_path, state(step=4), *pair)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.NAME]
