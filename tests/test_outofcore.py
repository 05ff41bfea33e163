"""Pictures in pieces: the same as whole, whatever the network, the tiles and the padding."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from texturenets import noise
from texturenets.errors import UserError
from texturenets.generators import build
from texturenets.generators.encoder_decoder import Skip, SkipUnpool
from texturenets.generators.graph import GraphSpec
from texturenets.generators.johnson import Johnson
from texturenets.generators.multiscale import Multiscale
from texturenets.generators.pyramid import Pyramid, Pyramid2
from texturenets.generators.refined import Refined
from texturenets.generators.residual import Residual
from texturenets.generators.trace import trace
from texturenets.outofcore import plan as planning
from texturenets.outofcore.regions import Region, merge, wrapped
from texturenets.outofcore.run import Job, Plan, run
from texturenets.outofcore.sources import InMemory, OnDisk, Padded, Resized, Source
from texturenets.outofcore.spool import HalfMap, OverflowedError, Spool, choose_folder
from texturenets.outofcore.staged import Staged

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
    """The noise of seed 0 for a picture as large as `x`."""
    return noise.draw(getattr(network, "noise", ()), [0], x.shape[2], x.shape[3])


def whole(network: nn.Module, x: Tensor) -> Tensor:
    """What the network itself gives, its noise that of seed 0."""
    maps = maps_of(network, x)
    with torch.inference_mode():
        y: Tensor = network(x, maps) if maps else network(x)
    return y


def tiled(
    network: nn.Module,
    x: Tensor,
    folder: Path,
    tile: tuple[int, int] | None = None,
    *,
    exact: bool = True,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """What it gives in tiles of that size."""
    graph = trace(network)
    size = (x.shape[2], x.shape[3])
    inputs: dict[int, Source] = {}
    maps = iter(maps_of(network, x))
    for i, node in enumerate(graph.nodes):
        if node.operation == "photo":
            inputs[i] = InMemory(x)
        elif node.operation == "noise":
            inputs[i] = InMemory(next(maps))
    found = torch.full_like(x, float("nan"))

    def keep(place: Region, y: Tensor) -> None:
        found[:, :, place.top : place.bottom, place.left : place.right] = y

    stride = int(getattr(network, "stride", 1))
    job = Job(graph, size, stride, inputs, folder, 1 << 30, precision=precision, tile=tile)
    run(job, keep, plan=Plan(graph, size, exact=exact))
    return found


@pytest.mark.parametrize("name", SMALL)
def test_in_pieces_every_network_gives_the_same(name: str, tmp_path: Path) -> None:
    network, x = network_of(name), picture(48, 56)
    y = whole(network, x)
    assert y.std() > 0.01
    for tile in ((48, 56), (16, 24)):
        torch.testing.assert_close(tiled(network, x, tmp_path, tile), y, atol=2e-5, rtol=1e-4)


def test_half_precision_on_disk_stays_below_a_255th(tmp_path: Path) -> None:
    network, x = network_of("residual"), picture(64, 64)
    difference = (tiled(network, x, tmp_path, exact=False) - whole(network, x)).abs()
    assert 0 < difference.max() < 1 / 255


def test_half_precision_throughout(tmp_path: Path) -> None:
    network, x = network_of("residual"), picture(64, 64)
    found = tiled(network, x, tmp_path, exact=False, precision=torch.bfloat16)
    difference = (found - whole(network, x)).abs()
    assert 1e-4 < difference.mean() < 5 / 255


def test_the_network_for_enlarged_paintings(tmp_path: Path) -> None:
    for name in ("residual", "graph", "johnson_noise", "pyramid_noise"):
        network, x = Refined(network_of(name)).eval(), picture(48, 48)
        found = tiled(network, x, tmp_path, (16, 24))
        torch.testing.assert_close(found, whole(network, x), atol=2e-5, rtol=1e-4)


def test_values_beyond_half_precision_are_kept_in_float32(tmp_path: Path) -> None:
    network, x = network_of("residual"), picture(64, 64)
    network.entry.conv.conv.weight.mul_(1e7)  # normalized away, but not before it has been on disk
    y = whole(network, x)
    torch.testing.assert_close(tiled(network, x, tmp_path, exact=False), y, atol=1e-4, rtol=1e-3)
    with pytest.raises(OverflowedError):
        HalfMap(tmp_path, 1, (1, 1)).write(Region(0, 1, 0, 1), torch.full((1, 1, 1, 1), 1e6))


def test_taken_apart_wrongly_is_found_out() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * float(self.training)  # read off as it was when it was read

    class Growing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return x * float(self.calls)

    with pytest.raises(UserError, match="another picture than whole"):
        Staged(Growing(), torch.device("cpu"))
    assert Staged(Odd().eval(), torch.device("cpu")).stride == 1


def test_code_that_cannot_be_taken_apart_is_named() -> None:
    class Sorted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sort(dim=3).values

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
    found = tiled(network, x, tmp_path, (16, 24))
    torch.testing.assert_close(found, whole(network, x), atol=2e-5, rtol=1e-4)


# ---- Planning ----------------------------------------------------------------------------------------


def test_more_memory_makes_larger_tiles_and_none_is_refused() -> None:
    graph = trace(network_of("johnson"))
    plan = Plan(graph, (4096, 4096))
    one = plan.passes[3]
    small, large = (planning.tiling(plan.network, one, 4, memory) for memory in (10**7, 10**8))
    assert small.memory <= 10**7 < large.memory <= 10**8
    assert large.height * large.width > small.height * small.width
    with pytest.raises(UserError, match="not enough memory even for small pieces: 0 MB are left"):
        planning.tiling(plan.network, one, 4, 10)


def test_what_is_kept_is_written_before_it_is_read() -> None:
    for name in SMALL:
        plan = Plan(trace(network_of(name)), (512, 512))
        written: set[int] = set()
        for one in plan.passes:
            assert one.read <= written
            written |= set(one.written)
        assert plan.kept >= written


def test_the_shipped_kind_keeps_tens_of_bytes_a_pixel_not_hundreds() -> None:
    plan = Plan(trace(build(Residual())), (2048, 2048))
    assert 8 <= plan.disk / 2048**2 <= 40


def test_regions() -> None:
    assert wrapped(-3, 4, 10) == [(7, 10), (0, 4)]
    assert wrapped(12, 14, 10) == [(2, 4)]
    near, far = Region(0, 4, 0, 4), Region(90, 94, 0, 4)
    assert merge([near, far, Region(2, 6, 0, 4)]) == [far, Region(0, 6, 0, 4)]


# ---- Spool and sources -------------------------------------------------------------------------------


def test_a_spool_gives_back_what_was_written_in_any_pieces(tmp_path: Path) -> None:
    values = torch.arange(7 * 9 * 2).reshape(7, 9, 2).numpy().astype("uint16")
    spool = Spool(tmp_path, 2, (7, 9), "uint16")
    spool.write(Region(0, 4, 0, 9), values[:4])
    spool.write(Region(4, 7, 0, 5), values[4:, :5])
    spool.write(Region(4, 7, 5, 9), values[4:, 5:])
    assert (spool.read(Region(2, 6, 3, 8)) == values[2:6, 3:8]).all()
    assert not list(tmp_path.iterdir()) or sys.platform == "win32"  # it has no name that could be left behind
    spool.close()


def test_a_killed_run_leaves_no_spool(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from texturenets.outofcore.spool import Spool\n"
        "from texturenets.outofcore.regions import Region; import numpy as np\n"
        "s = Spool(Path(sys.argv[1]), 1, (64, 64), 'uint8')\n"
        "s.write(Region(0, 64, 0, 64), np.ones((64, 64, 1), np.uint8)); print('written', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "written\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not list(tmp_path.iterdir())


def test_where_the_spool_goes(tmp_path: Path) -> None:
    assert choose_folder(1, tmp_path) == tmp_path
    with pytest.raises(UserError, match=r"needs 1000000000.0 GB of disk.*--spool FOLDER"):
        choose_folder(10**18, tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        choose_folder(1, tmp_path / "none")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright(orientation: int, tmp_path: Path) -> None:
    from PIL import Image, ImageOps

    stored = Image.fromarray((255 * picture(6, 9)[0].permute(1, 2, 0)).byte().numpy())
    exif = Image.Exif()
    exif[274] = orientation
    stored.save(tmp_path / "p.png", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(tmp_path / "p.png"))
    wanted = torch.from_numpy(np.array(upright)).permute(2, 0, 1)[None] / 255
    spool = Spool(tmp_path, 3, (6, 9), "uint8")
    spool.write(Region(0, 6, 0, 9), np.array(stored))
    seen = OnDisk(spool, orientation)
    assert seen.size == (wanted.shape[2], wanted.shape[3])
    torch.testing.assert_close(seen.read(Region(1, 5, 2, 6)), wanted[:, :, 1:5, 2:6])


def test_padded_and_resized_pieces_are_those_of_the_whole() -> None:
    from texturenets import image, sizes

    x = picture(37, 53)
    padded, box = sizes.pad_to_multiple(x, 16, 64)
    source = Padded(InMemory(x), box)
    for place in (Region(0, 64, 0, 64), Region(0, 5, 60, 64), Region(20, 30, 20, 30)):
        piece = padded[:, :, place.top : place.bottom, place.left : place.right]
        torch.testing.assert_close(source.read(place), piece)
    for size in ((16, 20), (37, 53), (74, 106), (50, 90)):
        resized = image.resize(x, size)
        piece = Resized(InMemory(x), (37, 53), size).read(Region(3, 15, 2, 19))
        torch.testing.assert_close(piece, resized[:, :, 3:15, 2:19], atol=3e-5, rtol=0)
