"""Images in strips: the same as whole, whatever the network, the strips and the padding."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from networks import Sorted
from torch import Tensor, nn

from texturenets import engines, noise
from texturenets.engines.options import EngineOptions
from texturenets.errors import UserError
from texturenets.graph import Graph, parse
from texturenets.graph.passes import CPU_PASSES
from texturenets.image.blend import blend
from texturenets.modelfiles import modelfile
from texturenets.networks import build
from texturenets.networks.encoder_decoder import Skip, SkipUnpool
from texturenets.networks.graph import GraphSpec
from texturenets.networks.johnson import Johnson
from texturenets.networks.multiscale import Multiscale
from texturenets.networks.pyramid import Pyramid, Pyramid2
from texturenets.networks.residual import Residual
from texturenets.networks.trace import trace
from texturenets.tiled import plan as planning
from texturenets.tiled import run as running
from texturenets.tiled.borders import Border
from texturenets.tiled.network import TiledNetwork, refined
from texturenets.tiled.plan import PlannedNetwork
from texturenets.tiled.rows import Interval, merge, wrapped
from texturenets.tiled.run import TiledJob, _TiledRun, disk, run
from texturenets.tiled.sources import InMemory, OnDisk, Padded, Resized, RowSource
from texturenets.tiled.spool import (
    FeatureMap,
    OverflowedError,
    Spool,
    SpooledImage,
    choose_folder,
)
from texturenets.tiled.strip_graph import build as build_strip

SMALL = {
    "residual": Residual(channels=8, blocks=2),
    "residual_zero": Residual(channels=8, blocks=1, padding="zero"),
    "residual_replicate": Residual(channels=8, blocks=1, padding="replicate"),
    "residual_circular": Residual(channels=8, blocks=1, padding="circular"),
    "residual_plain": Residual(channels=8, blocks=1, normalization="none"),
    "residual_batch": Residual(channels=8, blocks=1, normalization="batch"),
    "johnson": Johnson(channels=4, blocks=2),
    "johnson_full4": Johnson(channels=4, blocks=1, upsampling="full4", padding="circular", exit_kernel=9),
    "johnson_nearest": Johnson(channels=4, blocks=1, upsampling="nearest", decoder_norm=True),
    "johnson_start": Johnson(channels=4, blocks=1, input_norm=True, down_padding="zero"),
    "johnson_down": Johnson(channels=4, blocks=1, size="small_down", upsampling="bilinear"),
    "johnson_noise": Johnson(channels=4, blocks=1, noise_depth=2, output="bounded"),
    "pyramid": Pyramid(channels=4, scales=3),
    "pyramid_bilinear": Pyramid(channels=4, scales=3, upsampling="bilinear", padding="circular"),
    "pyramid_noise": Pyramid(channels=4, scales=3, noise_depth=2, output="clamped"),
    "residual_noise": Residual(channels=8, blocks=1, noise_depth=2, noise="normal", padding="circular"),
    "pyramid2": Pyramid2(channels=(4, 4, 8), photo=True),
    "skip": Skip(channels=(4, 8), skip_channels=2, photo=True, level_noise=2),
    "skip_unpool": SkipUnpool(channels=(4, 8), skip_channels=2),
    "skip_unpool_noise": SkipUnpool(channels=(4, 8), skip_channels=2, noise_depth=2, output="bounded"),
    "multiscale_texture": Multiscale(channels=(4, 6, 6)),
    "skip_texture": Skip(channels=(4, 8), skip_channels=2, level_noise=2, padding="circular"),
    "johnson_texture": Johnson(channels=4, blocks=1, photo=False, noise_depth=3, input_norm=True),
    "graph": GraphSpec(
        nodes=(
            "photo",
            "noise channels=2 stride=2 distribution=normal scale=0.3",
            "upsample 1 factor=2 mode=bilinear_corners",
            "concat 0 2",
            "pad 3 amount=3:2:1:4 mode=reflect",
            "conv 4 out=6 kernel=3",
            "crop 5 amount=1:2:2:1",
            "norm 6",
            "elu 7",
            "prelu 8",
            "affine 9",
            "mul 9 10",
            "unshuffle 11 factor=2",
            "pad 12 amount=1:1:1:1 mode=circular",
            "conv 13 out=24 kernel=3 groups=2",
            "norm 14",
            "sigmoid 15",
            "shuffle 16 factor=2",
            "deconv 17 out=4 kernel=4 stride=2 crop=1:1:1:1",
            "max_pool 18 kernel=2 stride=2",
            "leaky_relu 19 slope=0.2",
            "conv 20 out=3 kernel=1",
            "clamp 21 low=-2 high=2",
            "linear 22 by=0.5 add=0.5",
        )
    ),
}


def picture(height: int, width: int) -> Tensor:
    """Smooth and grainy: (1, 3, height, width)."""
    smooth = nn.functional.interpolate(torch.rand(1, 3, 5, 6), (height, width), mode="bicubic").clamp(0, 1)
    return 0.8 * smooth + 0.2 * torch.rand(1, 3, height, width)


def network_of(name: str) -> nn.Module:
    """A network with weights of no special kind, that of the normalizations included."""
    network = build(SMALL[name]).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
        for parameter in module.parameters(recurse=False):
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn(parameter.shape))
    return network


def maps_of(network: nn.Module, x: Tensor) -> list[Tensor]:
    """The noise of seed 0 for an image as large as `x`."""
    return noise.draw(getattr(network, "noise", ()), [0], x.shape[2], x.shape[3])


def whole(network: nn.Module, x: Tensor) -> Tensor:
    """What the network itself gives, its noise that of seed 0."""
    maps = maps_of(network, x)
    with torch.inference_mode():
        y: Tensor = network(x, maps) if maps else network(x)
    return y


def engine_of(name: str, precision: str = "float32") -> Any:
    """An engine that runs stages; what network it was made of does not matter."""
    return engines.load(modelfile.find("wave"), EngineOptions(name, "cpu", precision))


@pytest.fixture(autouse=True)
def spools(monkeypatch: pytest.MonkeyPatch) -> list[Spool]:
    """The spools of all runs, in small pages: so that small images have many."""
    made: list[Spool] = []

    def make(folder: Path) -> Spool:
        made.append(Spool(folder, page=256))
        return made[-1]

    monkeypatch.setattr(running, "Spool", make)
    return made


def tiled(
    network: nn.Module | Graph,
    x: Tensor,
    folder: Path,
    rows: int | None = None,
    *,
    engine: Any = None,
    exact: bool = True,
) -> Tensor:
    """What it gives in strips of so many rows."""
    graph = network if isinstance(network, Graph) else trace(network)
    inputs: dict[int, RowSource] = {}
    maps = iter(noise.draw_arrays(graph.noise, [0], x.shape[2], x.shape[3]))
    for i, node in enumerate(graph.nodes):
        if node.operation == "photo":
            inputs[i] = InMemory(x.numpy())
        elif node.operation == "noise":
            inputs[i] = InMemory(next(maps))
    found = np.full(x.shape, np.nan, np.float32)

    def keep(place: Interval, y: Any) -> None:
        found[:, :, place[0] : place[1]] = y

    size = (x.shape[2], x.shape[3])
    engine = engine or engine_of("onnx")
    run(TiledJob(graph, size, inputs, folder, 1 << 30, engine, rows=rows, exact=exact), keep)
    return torch.from_numpy(found)


@pytest.mark.parametrize("name", SMALL)
def test_in_strips_every_network_gives_the_same(name: str, tmp_path: Path) -> None:
    network, x = network_of(name), picture(64, 56)
    y = whole(network, x)
    assert y.std() > 0.01
    torch.testing.assert_close(tiled(network, x, tmp_path, 16), y, atol=5e-5, rtol=1e-4)
    graph = trace(network)
    for one in CPU_PASSES:
        graph = one(graph)
    torch.testing.assert_close(tiled(graph, x, tmp_path, 32), y, atol=5e-5, rtol=1e-4)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize(
    "name", ["residual_circular", "johnson_start", "skip_unpool", "graph", "pyramid_noise"]
)
def test_by_every_engine(name: str, engine: str, tmp_path: Path) -> None:
    network, x = network_of(name), picture(64, 56)
    found = tiled(network, x, tmp_path, 32, engine=engine_of(engine))
    torch.testing.assert_close(found, whole(network, x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("engine", ["onnx", "openvino", "torch"])
def test_several_strips_at_once(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, x, made = network_of("residual_noise"), picture(128, 40), engine_of(engine)
    found = []
    for streams in (1, 3):
        monkeypatch.setattr(type(made), "stage_streams", streams)
        found.append(tiled(network, x, tmp_path, 16, engine=made))
    torch.testing.assert_close(found[1], found[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("engine", ["onnx", "torch", "openvino"])
def test_half_precision_on_disk_stays_below_a_255th(engine: str, tmp_path: Path) -> None:
    network, x = network_of("residual"), picture(64, 64)
    found = tiled(network, x, tmp_path, 16, engine=engine_of(engine), exact=False)
    assert 0 < (found - whole(network, x)).abs().max() < 1 / 255


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_half_precision_throughout(engine: str, tmp_path: Path) -> None:
    network, x = network_of("residual"), picture(64, 64)
    try:
        made = engine_of(engine, "bf16")
    except UserError:
        pytest.skip("no bf16 here")
    difference = (tiled(network, x, tmp_path, 16, engine=made, exact=False) - whole(network, x)).abs()
    assert 1e-4 < difference.mean() < 5 / 255


def test_a_map_that_is_pooled_as_a_whole(tmp_path: Path) -> None:
    lines = [
        "photo",
        "conv 0 out=8 kernel=1",
        "global_pool 1",
        "conv 2 out=8 kernel=1",
        "sigmoid 3",
        "mul 1 4",
    ]
    lines += ["global_pool 1 mode=max", "add 5 6", "conv 7 out=3 kernel=1", "norm 8 groups=3", "tanh 9"]
    network = build(GraphSpec(nodes=tuple(lines))).eval().requires_grad_(False)
    x = picture(48, 32)
    torch.testing.assert_close(tiled(network, x, tmp_path, 16), whole(network, x), atol=2e-5, rtol=1e-4)


def test_the_network_for_enlarged_paintings(tmp_path: Path) -> None:
    for name in ("residual", "graph", "johnson_noise", "pyramid_noise"):
        network, x = network_of(name), picture(48, 48)
        found = tiled(refined(trace(network)), x, tmp_path, 16)
        torch.testing.assert_close(found, blend(x, whole(network, x)), atol=5e-5, rtol=1e-4)


def test_values_beyond_half_precision_are_kept_in_float32(tmp_path: Path) -> None:
    network, x = network_of("residual"), picture(64, 64)
    network.entry.conv.conv.weight.mul_(1e7)  # normalized away, but not before it has been on disk
    y = whole(network, x)
    torch.testing.assert_close(tiled(network, x, tmp_path, exact=False), y, atol=1e-4, rtol=1e-3)
    with pytest.raises(OverflowedError):
        FeatureMap(Spool(tmp_path), 1, (1, 1), "float16").write(
            (0, 1), np.full((1, 1, 1, 1), np.inf, np.float16)
        )


def test_what_cannot_be_tiled_is_named() -> None:
    lines = ["photo", "input name=mask channels=1", "mul 0 1"]
    graph = Graph(list(parse(lines)))
    with pytest.raises(UserError, match="takes mask beside a photo"):
        TiledNetwork(graph, engine_of("onnx"))
    fixed = Graph(list(parse(["photo"])), fixed_size=True, multiple=64)
    with pytest.raises(UserError, match="draws only images of 64 pixels per side"):
        TiledNetwork(fixed, engine_of("onnx"))


def test_code_that_cannot_be_taken_apart_is_named() -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    for network, words in (
        (Sorted(), "step 'sort'"),
        (Branching(), "cannot be read step by step"),
    ):
        with pytest.raises(UserError, match=words):
            trace(network)


def test_other_peoples_layers(tmp_path: Path) -> None:
    class Theirs(nn.Module):
        stride = 4

        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(
                nn.ReflectionPad2d(2), nn.Conv2d(3, 8, 5, 2), nn.InstanceNorm2d(8), nn.ReLU()
            )
            self.second = nn.Conv2d(8, 16, 3, 2, padding=1, padding_mode="reflect")
            self.norm = nn.BatchNorm2d(16)
            self.up = nn.ConvTranspose2d(16, 8, 3, 2, padding=1, output_padding=1)
            self.last = nn.Sequential(
                nn.Upsample(scale_factor=2), nn.Dropout(), nn.Conv2d(8, 3, 3, padding=1)
            )

        def forward(self, x: Tensor) -> Tensor:
            y = self.first((x - 0.5) * 2)
            z = self.up(nn.functional.leaky_relu(self.norm(self.second(y)), 0.1))
            return 1 - torch.sigmoid(self.last(z + y) / 2.0)[:, :3].clamp(0, 1)

    network, x = Theirs().eval().requires_grad_(False), picture(48, 64)
    found = tiled(network, x, tmp_path, 16)
    torch.testing.assert_close(found, whole(network, x), atol=2e-5, rtol=1e-4)


# ---- Planning ----------------------------------------------------------------------------------------


def plan_of(network: nn.Module, size: tuple[int, int]) -> tuple[PlannedNetwork, list[planning.ImagePass]]:
    """The network and its passes over an image."""
    made = PlannedNetwork(trace(network).nodes, size)
    return made, planning.plan_passes(made)


def test_more_memory_makes_larger_strips_and_none_is_refused(tmp_path: Path) -> None:
    graph, engine = trace(network_of("johnson")), engine_of("onnx")

    def rows(memory: int) -> int:
        work = _TiledRun(TiledJob(graph, (4096, 4096), {}, tmp_path, memory, engine), "float16")
        rows = work.heights[3]
        assert work.streams * work._needed(work.image_passes[3], rows) <= memory
        return rows

    assert 16 <= rows(2 * 10**7) < rows(10**8) < 4096
    with pytest.raises(UserError, match="not enough memory even for small strips"):
        rows(10)


def test_what_is_kept_is_written_before_it_is_read() -> None:
    for name in SMALL:
        network, image_passes = plan_of(network_of(name), (512, 512))
        written: set[int] = set()
        for one in image_passes:
            assert one.read <= written
            written |= set(one.written)
        assert image_passes[-1].targets[-1] == network.last


def test_the_shipped_kind_keeps_tens_of_bytes_a_pixel_not_hundreds() -> None:
    network, image_passes = plan_of(build(Residual()), (2048, 2048))
    assert 8 <= planning.disk(network, image_passes, 2) / 2048**2 <= 64


def test_rows() -> None:
    assert wrapped(-3, 4, 10) == [(7, 10), (0, 4)]
    assert wrapped(12, 14, 10) == [(2, 4)]
    assert merge([(0, 4), (90, 94), (2, 6)]) == [(0, 6), (90, 94)]
    assert planning.strips(100, 64, 4) == [(0, 52), (52, 100)]


# ---- Spool and sources -------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [16, 100, 2**20])
def test_a_spool_gives_back_what_was_written(page: int, tmp_path: Path) -> None:
    values = np.arange(7 * 9 * 2).reshape(7, 9, 2).astype("uint16")
    stored = SpooledImage(tmp_path, 2, (7, 9), "uint16")
    stored.write((0, 4), values[:4])
    stored.write((4, 7), values[4:])
    assert (stored.read((2, 6), (3, 8)) == values[2:6, 3:8]).all()
    kept = FeatureMap(Spool(tmp_path, page), 2, (7, 9), "bfloat16")
    kept.write((0, 4), values[None, :4])
    kept.write((4, 7), values[None, 4:])
    assert (kept.read((2, 6)) == values[None, 2:6]).all()
    assert not list(tmp_path.iterdir()) or sys.platform == "win32"  # it has no name that could be left behind
    stored.close()
    kept.spool.close()


@pytest.mark.parametrize("page", [16, 2**20])
@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_a_map_is_read_with_a_border(mode: str, page: int, tmp_path: Path) -> None:
    values = np.arange(7 * 9 * 2).reshape(1, 7, 9, 2).astype("uint16")
    kept = FeatureMap(Spool(tmp_path, page), 2, (7, 9), "bfloat16")
    kept.write((0, 7), values)
    padded = np.pad(values, ((0, 0), (2, 1), (3, 2), (0, 0)), {"replicate": "edge"}.get(mode, mode))  # type: ignore[call-overload]
    border = Border(2, 1, 3, 2, mode)
    for rows in ((-2, 4), (2, 5), (3, 8), (-2, 8)):
        assert (kept.read(rows, border) == padded[:, rows[0] + 2 : rows[1] + 2]).all()


def test_strips_of_one_pass_share_one_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "MIN_MULTIPLICATIONS", 0)  # small channels, but as with many
    graph = trace(network_of("residual"))
    network = PlannedNetwork(graph.nodes, (256, 64))
    counts = []
    for one in planning.plan_passes(network):
        keys = set()
        for strip in planning.strips(256, 64, graph.stride):
            keys.add(build_strip(network, one, strip, graph.weights).key)
        counts.append(len(keys))
    # The first pass pads the photo, and those of the decoder what has been enlarged.
    assert counts == [3, 1, 1, 1, 1, 3, 3, 1]


def test_rows_that_are_not_read_again_make_room(tmp_path: Path) -> None:
    spool = Spool(tmp_path, page=8)
    first, second = (FeatureMap(spool, 1, (8, 4), "bfloat16") for _ in range(2))  # 8 bytes a row: a page each
    values = np.arange(64, dtype=np.uint16).reshape(2, 1, 8, 4, 1)
    first.write((0, 8), values[0])
    assert spool.size == 64
    for row in range(8):
        assert (first.read((row, row + 1)) == values[0, :, row : row + 1]).all()
        first.release(row + 1)
        second.write((row, row + 1), values[1, :, row : row + 1])
    assert spool.size == 64
    assert (second.read((0, 8)) == values[1]).all()
    spool.close()


@pytest.mark.parametrize("name", ["residual", "johnson"])
def test_no_more_of_the_disk_is_used_than_announced(
    name: str, tmp_path: Path, spools: list[Spool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "MIN_MULTIPLICATIONS", 0)
    network = network_of(name)
    graph, size = trace(network), (256, 32)
    announced = disk(TiledJob(graph, size, {}, tmp_path, 1 << 30, engine_of("onnx"), rows=16, exact=True))
    tiled(network, picture(*size), tmp_path, 16)
    planned = PlannedNetwork(graph.nodes, size)
    never_freed = planning.disk(planned, planning.plan_passes(planned), 4, slack=1.0)
    assert 0 < spools[-1].size <= announced + 10 * spools[-1].page < never_freed


def test_a_killed_run_leaves_no_spool(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from texturenets.tiled.spool import SpooledImage\n"
        "import numpy as np\n"
        "s = SpooledImage(Path(sys.argv[1]), 1, (64, 64), 'uint8')\n"
        "s.write((0, 64), np.ones((64, 64, 1), np.uint8)); print('written', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "written\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not list(tmp_path.iterdir())


def test_an_image_may_be_wider_than_what_a_model_file_may_say(tmp_path: Path) -> None:
    network = build(Residual(channels=4, blocks=0)).eval().requires_grad_(False)
    x = torch.rand(1, 3, 32, 20000)
    torch.testing.assert_close(tiled(network, x, tmp_path, 16), whole(network, x), atol=5e-5, rtol=1e-4)


def test_where_the_spool_goes(tmp_path: Path) -> None:
    assert choose_folder(1, tmp_path) == tmp_path
    with pytest.raises(UserError, match=r"needs at least 1000000000.0 GB of disk.*`spool` FOLDER"):
        choose_folder(10**18, tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        choose_folder(1, tmp_path / "none")


def test_no_spool_goes_to_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, disk = tmp_path / "in memory", tmp_path / "disk"
    memory.mkdir()
    disk.mkdir()
    mounts = [
        SimpleNamespace(mountpoint=str(folder), fstype=kind)
        for folder, kind in (("/", "ext4"), ("/var/tmp", "tmpfs"), (memory, "tmpfs"))
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)  # noqa: A006 (psutil's name)
    monkeypatch.setattr(tempfile, "tempdir", str(memory))
    assert choose_folder(1000, None, [disk]) == disk
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    assert choose_folder(1000, None, [memory]) == disk


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright(orientation: int, tmp_path: Path) -> None:
    from PIL import Image, ImageOps

    stored = Image.fromarray((255 * picture(6, 9)[0].permute(1, 2, 0)).byte().numpy())
    exif = Image.Exif()
    exif[274] = orientation
    stored.save(tmp_path / "p.png", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(tmp_path / "p.png"))
    wanted = torch.from_numpy(np.array(upright)).permute(2, 0, 1)[None] / 255
    spool = SpooledImage(tmp_path, 3, (6, 9), "uint8")
    spool.write((0, 6), np.array(stored))
    seen = OnDisk(spool, orientation)
    assert seen.size == (wanted.shape[2], wanted.shape[3])
    torch.testing.assert_close(torch.from_numpy(seen.read((1, 5))), wanted[:, :, 1:5])


def test_padded_and_resized_pieces_are_those_of_the_whole() -> None:
    from texturenets import image
    from texturenets.image import sizes

    x = picture(37, 53)
    padded, box = sizes.pad_to_multiple(x, 16, 64)
    source = Padded(InMemory(x.numpy()), (padded.shape[2], padded.shape[3]), box)
    for rows in ((0, 64), (0, 5), (20, 30)):
        strip = torch.from_numpy(source.read(rows))
        torch.testing.assert_close(strip, padded[:, :, rows[0] : rows[1]])
    for size in ((16, 20), (37, 53), (74, 106), (50, 90)):
        resized = image.resize(x, size)
        strip = torch.from_numpy(Resized(InMemory(x.numpy()), (37, 53), size).read((3, 15)))
        torch.testing.assert_close(strip, resized[:, :, 3:15], atol=3e-5, rtol=0)
