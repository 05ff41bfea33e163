"""The compressed SqueezeNet, on a file encoded by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from texturenets import readers
from texturenets.errors import UserError

SHAPES = [(96, 3, 7, 7)]
for _squeeze, _expand, _inputs in (
    (16, 64, 96), (16, 64, 128), (32, 128, 128), (32, 128, 256),
    (48, 192, 256), (48, 192, 384), (64, 256, 384), (64, 256, 512),
):  # fmt: skip
    SHAPES += [(_squeeze, _inputs, 1, 1), (_expand, _squeeze, 1, 1), (_expand, _squeeze, 3, 3)]
SHAPES.append((1000, 512, 1, 1))


def write(path: Path, gaps: list[int], codes: list[int]) -> np.ndarray:
    """A file that keeps weights only in the first layer; returns the codebook of every layer."""
    book = np.arange(256, dtype="<f4") / 8
    out = np.array([len(gaps), *[0] * 25], "<u4").tobytes()
    for i, shape in enumerate(SHAPES):
        out += book.tobytes() + np.full(shape[0], i, "<f4").tobytes()
        if i == 0:
            padded = [*gaps, 0] if len(gaps) % 2 else gaps
            out += bytes(codes)
            out += bytes(low | high << 4 for low, high in zip(padded[::2], padded[1::2], strict=True))
    path.write_bytes(out)
    return book


def test_kept_weights_go_where_the_gaps_say(tmp_path: Path) -> None:
    path = tmp_path / "a.net"
    # zeros before each kept weight: 0, 2, 15 (a filler: code 0), 1, 3
    book = write(path, [0, 2, 15, 1, 3], [7, 9, 0, 255, 1])
    contents = readers.read(path, "squeezenet1_0")
    assert contents.format == "compressed"
    flat = contents.tensors["features.0.weight"].numpy().ravel()
    assert {i: flat[i] for i in np.flatnonzero(flat)} == {0: book[7], 3: book[9], 21: book[255], 25: book[1]}
    assert len(contents.tensors) == 50
    assert contents.tensors["features.3.squeeze.bias"].tolist() == [1.0] * 16
    assert contents.tensors["features.12.expand3x3.bias"].unique().tolist() == [24.0]


def test_weights_beyond_the_layer(tmp_path: Path) -> None:
    path = tmp_path / "a.net"
    write(path, [15] * 1000, [1] * 1000)
    with pytest.raises(UserError, match="beyond"):
        readers.read(path, "squeezenet1_0")


def test_a_file_cut_short_is_of_no_known_format(tmp_path: Path) -> None:
    path = tmp_path / "a.net"
    write(path, [0, 1], [1, 2])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=str(path)):
        readers.read(path, "squeezenet1_0")
