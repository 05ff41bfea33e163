"""Noise: the published test vectors, and independence of everything but the place."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from texturenets import noise
from texturenets.noise import NoiseInput

# Known answers of philox4x32-10, from the kat_vectors file of Random123 1.09: counter, key, result
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_philox(counter: tuple[int, ...], key: tuple[int, int], result: tuple[int, ...]) -> None:
    assert tuple(int(word) for word in noise.philox(counter, key)) == result


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_philox_of_tensors(counter: tuple[int, ...], key: tuple[int, int], result: tuple[int, ...]) -> None:
    words = noise.philox([torch.tensor([word]) for word in counter], key)
    assert tuple(int(word) for word in words) == result


WAVES = NoiseInput(4, 4, "waves", ((0.03, 0.0), (-0.06, 0.04)))


@pytest.mark.parametrize("one", [NoiseInput(5, 1), NoiseInput(3, 1, "normal")])
def test_a_device_makes_the_same_numbers(one: NoiseInput) -> None:
    """Here the processor takes the part of the GPU."""
    (expected,) = noise.draw([one], [4, 2**40 + 9], 12, 30, top=-3, left=2**32 - 5)
    found = noise._on_device(one, [4, 2**40 + 9], 0, -3, 2**32 - 5, 12, 30, torch.device("cpu"))
    if one.distribution == "uniform":
        assert torch.equal(found, expected)
    else:
        torch.testing.assert_close(found, expected, rtol=2e-7, atol=1e-7)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_card() -> None:
    inputs = [NoiseInput(3, 8), NoiseInput(2, 2, "normal")]
    for found, expected in zip(
        noise.draw(inputs, [4, 9], 32, 48, device="cuda"), noise.draw(inputs, [4, 9], 32, 48), strict=True
    ):
        torch.testing.assert_close(found.cpu(), expected, rtol=2e-7, atol=1e-7)


def test_uniform_is_the_words_of_row_column_stream_and_group() -> None:
    words = [int(w) for w in noise.philox((7, 3, 2, 1), (11, 1))]
    values = noise.uniform(2**32 + 11, 2, 7, 3, 1, 1, 8)[:, 0, 0]
    assert values[4:].tolist() == [(w >> 8) / 2**24 for w in words]


@pytest.mark.parametrize("make", [noise.uniform, noise.normal])
def test_a_crop_is_a_part_of_the_whole(make: object) -> None:
    assert callable(make)
    whole = make(5, 1, -4, -6, 20, 30, 5)
    torch.testing.assert_close(make(5, 1, 2, 1, 6, 9, 3), whole[:3, 6:12, 7:16], rtol=0, atol=0)
    assert not torch.equal(make(5, 0, -4, -6, 20, 30, 5), whole)
    assert not torch.equal(make(6, 1, -4, -6, 20, 30, 5), whole)


def test_distributions() -> None:
    u = noise.uniform(1, 0, 0, 0, 200, 200, 4).double().numpy()
    n = noise.normal(1, 0, 0, 0, 200, 200, 5).double().numpy()
    assert u.min() >= 0
    assert u.max() < 1
    for values, mean, variance in ((u, 0.5, 1 / 12), (n, 0.0, 1.0)):
        # five standard errors
        assert abs(values.mean() - mean) < 5 * math.sqrt(variance / values.size)
        assert abs(values.var() / variance - 1) < 5 * math.sqrt(2 / values.size)
        flat = values.reshape(values.shape[0], -1)
        assert np.abs(np.corrcoef(flat) - np.eye(len(flat))).max() < 5 / math.sqrt(flat.shape[1])
        neighbours = np.corrcoef(values[:, :, 1:].ravel(), values[:, :, :-1].ravel())[0, 1]
        assert abs(neighbours) < 5 / math.sqrt(values.size)
    assert abs((np.abs(n) < 1).mean() - 0.6827) < 0.005


def test_draw_does_not_look_at_the_batch_and_moves_with_the_place() -> None:
    inputs = [NoiseInput(3, 8), NoiseInput(2, 2, "normal")]
    maps = noise.draw(inputs, [4, 9], 32, 48)
    assert [tuple(m.shape) for m in maps] == [(2, 3, 4, 6), (2, 2, 16, 24)]
    assert [m[1:].tolist() for m in maps] == [m.tolist() for m in noise.draw(inputs, [9], 32, 48)]
    moved = noise.draw(inputs, [4], 16, 16, top=8, left=24)
    assert torch.equal(moved[0][0], maps[0][0, :, 1:3, 3:5])
    assert torch.equal(moved[1][0], maps[1][0, :, 4:12, 12:20])


@pytest.mark.parametrize("size", [(64, 96), (100, 200)])
def test_waves_are_sines_with_whole_cycles_and_a_phase_by_seed(size: tuple[int, int]) -> None:
    """By the spectrum: all power of a channel is at one place."""
    (maps,) = noise.draw([WAVES], [4, 9], *size)
    assert maps.shape == (2, 4, size[0] // 4, size[1] // 4)
    torch.testing.assert_close(maps[:, 0::2] ** 2 + maps[:, 1::2] ** 2, torch.ones_like(maps[:, :2]))
    assert not torch.allclose(maps[0], maps[1], atol=0.1)
    for pair, wave in zip(maps[0].double().numpy().reshape(2, 2, *maps.shape[2:]), WAVES.waves, strict=True):
        power = (
            np.abs(np.fft.fft2(pair[1] + 1j * pair[0])) ** 2
        )  # cosine and sine: one frequency, not its opposite
        place = np.unravel_index(power.argmax(), power.shape)
        assert place == tuple(round(f * side) % (side // 4) for f, side in zip(wave, size, strict=True))
        assert power.max() > (1 - 1e-6) * power.sum()


def test_waves_of_a_device_and_of_a_training() -> None:
    (expected,) = noise.draw([WAVES], [4], 64, 64)
    whole = noise.wrapped(WAVES, 64, 64)
    assert torch.equal(noise._on_device(whole, [4], 0, 0, 0, 16, 16, torch.device("cpu")), expected)
    first, again = (noise.for_training([WAVES], 1, 5, [2, 3], 64, 64)[0] for _ in range(2))
    assert torch.equal(first, again)
    torch.testing.assert_close(first[:, 0] ** 2 + first[:, 1] ** 2, torch.ones(2, 16, 16))
    assert not torch.allclose(first[0], first[1], atol=0.1)


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="33 x 32 pixels are not multiples of 8"):
        noise.draw([NoiseInput(3, 8)], [0], 33, 32)
    with pytest.raises(ValueError, match="multiples of 8"):
        noise.draw([NoiseInput(3, 8)], [0], 32, 32, top=4)
