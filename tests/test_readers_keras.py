"""Keras weights in HDF5, in the three layouts that Keras has written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from texturenets import readers
from texturenets.errors import UserError
from texturenets.readers import isolated, keras

h5py = pytest.importorskip("h5py")

LAYOUTS = {
    "keras 1": ("{0}/{0}_W_1:0", "{0}/{0}_b_1:0", ("block1_conv1", "block1_conv2")),
    "keras 2": ("{0}/{0}/kernel:0", "{0}/{0}/bias:0", ("block1_conv1", "block1_conv2")),
    "model": (
        "model_weights/{0}/{0}/kernel:0",
        "model_weights/{0}/{0}/bias:0",
        ("block1_conv1", "block1_conv2"),
    ),
    "keras 3": ("layers/{0}/vars/0", "layers/{0}/vars/1", ("conv2d", "conv2d_1")),
}


def kernels() -> list[tuple[np.ndarray, np.ndarray]]:
    draw = np.random.default_rng(1)
    return [
        (draw.standard_normal((3, 3, inputs, 64), np.float32), draw.standard_normal(64, np.float32))
        for inputs in (3, 64)
    ]


def write(path: Path, layout: str, **how: object) -> list[tuple[np.ndarray, np.ndarray]]:
    weight, bias, names = LAYOUTS[layout]
    arrays = kernels()
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"input_1", *(n.encode() for n in names)]
        for name, (w, b) in zip(names, arrays, strict=True):
            file.create_dataset(weight.format(name), data=w, **how)
            file[bias.format(name)] = b
    return arrays


@pytest.mark.parametrize("layout", LAYOUTS)
def test_kernels_are_turned(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "anything"
    arrays = write(path, layout)
    contents = readers.read(path, "vgg16")
    assert contents.format == "keras"
    assert list(contents.tensors) == [f"features.{i}.{p}" for i in (0, 2) for p in ("weight", "bias")]
    for index, (w, b) in zip((0, 2), arrays, strict=True):
        found = contents.tensors[f"features.{index}.weight"].numpy()
        # height, width, input, output in Keras; output, input, height, width here
        for y, x, i, o in ((0, 0, 0, 0), (2, 1, 1, 63), (0, 2, 2, 5)):
            assert found[o, i, y, x] == w[y, x, i, o]
        assert np.array_equal(found, np.einsum("yxio->oiyx", w))
        assert np.array_equal(contents.tensors[f"features.{index}.bias"].numpy(), b)


def test_compressed_chunks(tmp_path: Path) -> None:
    arrays = write(tmp_path / "a.h5", "keras 2", compression="gzip")
    found = readers.read(tmp_path / "a.h5", "vgg19").tensors["features.2.weight"]
    assert np.array_equal(found.numpy(), arrays[1][0].transpose(3, 2, 0, 1))


def test_links_out_of_the_file_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "secret.h5", "keras 2")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["block1_conv1"] = h5py.ExternalLink("secret.h5", "block1_conv1")
        file["loop"] = h5py.SoftLink("/")
    with pytest.raises(UserError, match="no layers of vgg16"):
        readers.read(tmp_path / "a.h5", "vgg16")


def test_huge_arrays_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", "keras 2")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.create_dataset("bomb/kernel:0", (1 << 14, 1 << 14, 1 << 6, 1 << 6), "f4", chunks=True)
    assert set(keras.read(tmp_path / "a.h5")) == {
        f"block1_conv{i}.{p}" for i in (1, 2) for p in ("weight", "bias")
    }


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path, "keras 2")
    whole = path.read_bytes()
    draw = np.random.default_rng(4)
    for cut, flips in ((len(whole) // 2, 0), (100, 0), (len(whole), 40)):
        damaged = np.frombuffer(whole[:cut], np.uint8).copy()
        damaged[draw.integers(8, min(cut, 900), flips)] = 255
        path.write_bytes(damaged.tobytes())
        with pytest.raises(UserError) as caught:
            readers.read(path, "vgg16")
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_library_that_dies_or_hangs_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.h5"
    write(path, "keras 2")
    child = tmp_path / "child.py"
    monkeypatch.setattr(isolated, "CHILD", child)
    child.write_text("import os; os.abort()")
    with pytest.raises(UserError, match="failed on it"):
        readers.read(path, "vgg16")
    child.write_text("import sys; sys.exit(3)")
    with pytest.raises(UserError, match="pip install"):
        readers.read(path, "vgg16")
    child.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(isolated, "START", 0.3)
    with pytest.raises(UserError, match="end"):
        readers.read(path, "vgg16")
