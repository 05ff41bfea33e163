"""How fast texturenets is, beside the peer and the floor, measured in one run: one table a subject.

    speed.py stylize [--size 512]     a photo stylized: johnson and our default, by each engine
    speed.py sizes                    seconds a megapixel at 1, 4 and 16 megapixels
    speed.py accuracy --photos DIR    bf16 against float32 PyTorch, over the photos
    speed.py sample                   a pyramid texture of 256 x 256, 1 and 16 at a time
    speed.py train                    a step of training: johnson, VGG-16 to relu4_3, 4 crops of 256
    speed.py blocks                   the layers that are computed in blocks of pixels, and as they are
    speed.py startup                  whole processes: `texturenets stylize` beside `import torch`
    speed.py memory                   what an image takes, measured and estimated; the peak of whole processes
    speed.py passes                   networks with and without each pass from graph to graph
    speed.py busy                     training and stylizing alone, and beside two busy loops

`stylize` and `train` run on a GPU where there is one, or as --device says.
"Our default" is `residual` with no option set, without the noise and the dilated blocks that `train style` gives it;
`sizes`, `startup`, `busy` and whole processes take the shipped `wave`, which has both.

Everything that is compared in a table runs in turn, A B C A B C ..., --runs times after one round that does not
count; the table has medians. Needs the extras openvino and dev. The machine should do nothing else.
"""

from __future__ import annotations

import argparse
import io
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import busy
import floor
import numpy as np
import passes
import peaks
import peer
import torch
import torch.nn.functional as F
from bars import shipped
from steps import Steps

from texturenets import engines, image, noise
from texturenets.engines import kernels, space_to_depth_conv
from texturenets.engines.onnx_engine import ONNXEngine
from texturenets.engines.openvino_engine import OpenVINOEngine, no_telemetry
from texturenets.engines.openvino_engine import core as openvino_core
from texturenets.engines.options import EngineOptions
from texturenets.engines.torch_engine import TorchEngine
from texturenets.graph.onnx import to_onnx
from texturenets.image import sizes
from texturenets.memory.malloc import keep_freed_memory
from texturenets.modelfiles import modelfile
from texturenets.networks import GeneratorSpec, build
from texturenets.networks.johnson import Johnson
from texturenets.networks.layers import PaddedConv
from texturenets.networks.pyramid import Pyramid
from texturenets.networks.residual import Residual
from texturenets.networks.trace import trace

# The peer's network in our words
JOHNSON = Johnson(upsampling="nearest", decoder_norm=True, exit_kernel=9, padding="reflect")
Rows = list[list[str]]
# Seconds before each action: for milliseconds threads of PyTorch and of ONNX Runtime wait for more work in a loop,
# which the next engine in turn would pay for.
REST = 0.05


def in_turn(actions: dict[str, Callable[[], Any]], runs: int) -> dict[str, float]:
    """Median seconds of each action."""
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for run in range(runs + 1):
        for name, action in actions.items():
            time.sleep(REST)
            start = time.perf_counter()
            action()
            if run:
                taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in taken.items()}


def show(title: str, head: Sequence[str], rows: Rows) -> str:
    """A table in Markdown, printed as well."""
    lines = [
        f"\n{title}\n",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    text = "\n".join(lines)
    print(text, flush=True)
    return text


def against(times: dict[str, float], first: str, floors: dict[str, float]) -> Rows:
    """Rows: name, milliseconds, how often as fast as `first`, how often the floor."""
    return [
        [
            name,
            f"{1e3 * value:.1f}",
            f"{times[first] / value:.2f}",
            f"{value / floors[name]:.2f}" if name in floors else "",
        ]
        for name, value in times.items()
    ]


HEAD = ("", "ms", "times the first row's speed", "times the floor")


def engines_of(spec: GeneratorSpec) -> dict[str, Any]:
    """The network of `spec` with random weights, by each engine."""
    torch.manual_seed(0)
    network = build(spec).eval()
    graph = trace(network)
    model, io_spec = to_onnx(graph), graph.io_spec
    split = to_onnx(graph, split=True).SerializeToString()
    plain = model.SerializeToString()
    native = "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    made: dict[str, Any] = {
        "PyTorch float32": TorchEngine(network),
        "ONNX Runtime float32": ONNXEngine(plain, io_spec),
        "OpenVINO float32": OpenVINOEngine(split, io_spec, "float32"),
    }
    if native:
        made["PyTorch bf16"] = TorchEngine(build(spec), "cpu", "bf16")
        made["OpenVINO bf16"] = OpenVINOEngine(split, io_spec, "bf16")
    return made


def floors_of(names: Sequence[str], work: floor.Work, rates: floor.Rates) -> dict[str, float]:
    """The floor of each row by the precision that its name ends in."""
    return {name: work.floor(rates, name.rpartition(" ")[2]) for name in names}


def rates_line(rates: floor.Rates) -> str:
    """What the floors were computed from."""
    products = ", ".join(f"{value / 1e9:.0f} GFLOP/s in {name}" for name, value in rates.operations.items())
    return f"Measured: matrix products {products}; copies {rates.bytes / 1e9:.1f} GB/s."


def stylize(args: argparse.Namespace) -> list[str]:
    """Johnson and our default at one size, or on a GPU at two."""
    if args.device == "cuda":
        return _stylize_cuda(args)
    side = args.size
    x = torch.rand(1, 3, side, side)
    network = peer.network().eval()

    def eager() -> Any:
        with torch.no_grad():
            return network(x)

    actions: dict[str, Callable[[], Any]] = {"peer, eager float32": eager}
    floors: dict[str, floor.Work] = {"peer, eager float32": floor.work(network, x)}
    array = x.numpy()
    for title, spec in (("johnson", JOHNSON), ("our default", Residual())):
        counted = floor.work(build(spec), x)
        for name, engine in engines_of(spec).items():
            actions[f"{title}, {name}"] = lambda engine=engine: engine(array)
            floors[f"{title}, {name}"] = counted
    times = in_turn(actions, args.runs)
    rates = floor.measure()
    known = {name: w.floor(rates, name.rpartition(" ")[2]) for name, w in floors.items()}
    rows = against(times, "peer, eager float32", known)
    return [show(f"A photo of {side} x {side}. {rates_line(rates)}", HEAD, rows)]


def _stylize_cuda(args: argparse.Namespace) -> list[str]:
    """Johnson at 1920 x 1080 and our default at 3840 x 2160, tensors on the device."""
    texts = []
    rates = floor.measure(("float32", "fp16"), "cuda")
    for title, spec, (height, width) in (
        ("johnson", JOHNSON, (1080, 1920)),
        ("our default", Residual(), (2160, 3840)),
    ):
        x = torch.rand(1, 3, height, width, device="cuda")
        # Plain PyTorch: the peer's network, and for our default its layers without our kernels
        network = peer.network() if spec is JOHNSON else build(spec)
        network = network.eval().to("cuda")
        half = TorchEngine(build(spec), "cuda", "fp16")
        counted = floor.work(build(spec), x)

        def plain(x: Any = x, network: Any = network) -> None:
            with torch.inference_mode(), mock.patch.object(kernels, "supports", return_value=False):
                network(x)
            torch.cuda.synchronize()

        def ours(x: Any = x, engine: Any = half) -> None:
            engine(x)
            torch.cuda.synchronize()

        times = in_turn({"eager float32": plain, "PyTorch fp16": ours}, max(args.runs, 20))
        known = floors_of(list(times), counted, rates)
        where = torch.cuda.get_device_name()
        texts.append(
            show(
                f"{title}, {width} x {height}, {where}. {rates_line(rates)}",
                HEAD,
                against(times, "eager float32", known),
            )
        )
    return texts


def megapixels(args: argparse.Namespace) -> list[str]:
    """`wave` by the engine that auto takes, at three sizes."""
    path = modelfile.find("wave")
    engine = engines.load(path)
    actions = {}
    for side in (1024, 2048, 4096):
        x = np.random.default_rng(0).random((1, 3, side, side), np.float32)
        maps = noise.draw_arrays(engine.io_spec.noise, [0], side, side)
        actions[f"{side} x {side}"] = lambda x=x, maps=maps: engine(x, maps)
    times = in_turn(actions, max(3, args.runs // 3))
    first = times["1024 x 1024"]
    rows = []
    for name, value in times.items():
        pixels = (int(name.split()[0]) / 1024) ** 2
        rows.append(
            [name, f"{1e3 * value:.0f}", f"{1e3 * value / pixels:.1f}", f"{value / pixels / first:.2f}"]
        )
    head = ("", "ms", "ms a megapixel", "times the first row's")
    return [show(f"wave, {engine.name} {engine.precision}", head, rows)]


def accuracy(args: argparse.Namespace) -> list[str]:
    """The shipped styles in the precision that auto takes against float32 PyTorch, in 255ths."""
    photos = [image.read(path, longer=args.size).pixels for path in image.expand([args.photos])]
    rows = []
    for name, path in shipped("style").items():
        exact, fast = engines.load(path, EngineOptions("torch", "cpu", "float32")), engines.load(path)
        differences = []
        for photo in photos:
            x, box = sizes.pad_to_multiple(photo, fast.io_spec.stride, 64, fast.io_spec.margin)
            maps = noise.draw_arrays(fast.io_spec.noise, [0], *x.shape[2:])
            y, z = (sizes.crop_back(engine(x, maps), box).clip(0, 1) for engine in (exact, fast))
            differences.append(255 * np.abs(y - z).ravel())
        together = np.concatenate(differences)
        values = (together.mean(), np.quantile(together, 0.999), together.max())
        rows.append([f"{name}, {fast.name} {fast.precision}", *(f"{value:.2f}" for value in values)])
    head = ("", "mean", "99.9th percentile", "largest")
    return [show(f"Differences from float32 in 255ths, {len(photos)} photos at {args.size}", head, rows)]


# The noise generator of arXiv 1603.03417, section 3.2, tileable
TEXTURE = Pyramid(photo=False, noise_depth=3, scales=5, padding="circular", activation="leaky_relu")


class _Unpacked(torch.nn.Module):
    """A network whose maps of noise are arguments, for converters that know nothing of lists."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *noises: torch.Tensor) -> Any:
        return self.network(None, noises)


STOCK = "off the shelf, "


def off_the_shelf(network: torch.nn.Module, maps: Sequence[Any]) -> dict[str, Callable[[], Any]]:
    """The network by the three engines as they come: eager, and by their own converters, any size, own settings.

    OpenVINO computes in bf16 by itself where the processor has it. With one size it is quicker, hence a row of that.
    """
    import onnxruntime

    unpacked, given = _Unpacked(network), tuple(torch.from_numpy(one) for one in maps)
    names = [f"noise{i}" for i in range(len(maps))]
    core = openvino_core()
    with no_telemetry(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import openvino

        converted = openvino.convert_model(unpacked, example_input=given)
        written = io.BytesIO()
        axes = {name: {0: "batch", 2: f"{name}_height", 3: f"{name}_width"} for name in names}
        torch.onnx.export(unpacked, given, written, dynamo=False, input_names=names, dynamic_axes=axes)
    stock = core.compile_model(converted, "CPU")
    converted.reshape({i: list(one.shape) for i, one in enumerate(maps)})
    fixed = core.compile_model(converted, "CPU")
    session = onnxruntime.InferenceSession(written.getvalue(), providers=["CPUExecutionProvider"])

    def eager() -> Any:
        with torch.inference_mode():
            return network(None, given)

    return {
        f"{STOCK}OpenVINO": lambda: stock(list(maps)),
        f"{STOCK}OpenVINO, one size": lambda: fixed(list(maps)),
        f"{STOCK}ONNX Runtime": lambda: session.run(None, dict(zip(names, maps, strict=True))),
        f"{STOCK}PyTorch": eager,
    }


def sample(args: argparse.Namespace) -> list[str]:
    """Textures from noise."""
    network = build(TEXTURE).eval()
    made = engines_of(TEXTURE)
    io_spec = trace(network).io_spec
    rates = floor.measure()
    texts = []
    for batch in (1, 16):
        maps = noise.draw_arrays(io_spec.noise, range(batch), 256, 256)
        actions: dict[str, Callable[[], Any]] = {
            **off_the_shelf(network, maps),
            **{name: lambda e=e, maps=maps: e(None, maps) for name, e in made.items()},
        }
        times = in_turn(actions, args.runs)
        counted = floor.work(network, None, [torch.from_numpy(one) for one in maps])
        half = ("bf16", f"{STOCK}OpenVINO", "one size") if "OpenVINO bf16" in made else ()
        known = {n: counted.floor(rates, "bf16" if n.endswith(half) else "float32") for n in times}
        rows = against(times, f"{STOCK}OpenVINO", known)
        texts.append(show(f"{batch} textures of 256 x 256. {rates_line(rates)}", HEAD, rows))
    return texts


def train(args: argparse.Namespace) -> list[str]:
    """Steps of `train style` and of the peer, in turn: the same network, descriptor network, batch and size.

    Each kind by a process of its own that is started for its turn: --runs / 3 turns, each the mean of 3 steps, or of
    50 on a GPU.
    """
    allocator = ", with our settings of the allocator"
    kinds = {
        "peer, float32": "peer",
        f"peer, float32{allocator}": "peer-memory",
        "peer, bf16, channels last": "peer-bf16",
        f"peer, bf16, channels last{allocator}": "peer-bf16-memory",
        "ours, float32": "ours-float32",
        "ours, auto": "ours-auto",
        "ours, auto, descriptor own": "ours-own",
        "ours, preset quick, descriptor vgg16": "quick-vgg16",
        "ours, preset quick, descriptor own": "quick-own",
    }
    if args.device == "cuda":
        kinds = {name: kind for name, kind in kinds.items() if not name.endswith(allocator)}
    several = "3" if args.device == "cpu" else "50"
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(max(1, args.runs // 3)):
        for name, kind in kinds.items():
            with Steps(kind, args.side, args.batch, args.device) as steps:
                taken[name].append(steps.ask(several))
    times = {name: statistics.median(values) for name, values in taken.items()}
    # What the convolutions and products of our step take at the best rate, and nothing else
    with Steps("ours-float32", args.side, args.batch, "cpu") as steps:
        counted = steps.ask("flops")
    precisions = ("float32", "bf16") if args.device == "cpu" else ("float32", "bf16", "fp16")
    for precision, rate in floor.measure(precisions, args.device).operations.items():
        times[f"our step's arithmetic alone, {precision}"] = counted / rate
    rows = [
        [name, f"{value:.3g}", f"{args.batch / value:.3g}", f"{times['peer, float32'] / value:.2f}"]
        for name, value in times.items()
    ]
    head = ("", "s a step", "images/s", "times the peer's")
    return [
        show(f"A step of training, johnson, VGG-16 to relu4_3, batch {args.batch} at {args.side}", head, rows)
    ]


def layers_in_blocks(args: argparse.Namespace) -> list[str]:
    """Layers of johnson and of SqueezeNet as in a step of 4 crops: forward, then with their gradients."""
    exit_layer = PaddedConv(32, 3, 9, padding="reflect")
    halves = [PaddedConv(128, 64, 3, padding="reflect"), PaddedConv(64, 32, 3, padding="reflect")]
    first = torch.randn(96, 3, 7, 7) / 12

    def strided(x: torch.Tensor) -> torch.Tensor:
        weight = first.to(x.dtype)
        taken = space_to_depth_conv.supports(x)
        return (
            space_to_depth_conv.strided_conv_from_few_channels(x, weight, None, 3)
            if taken
            else F.conv2d(x, weight, None, 2, 3)
        )

    side = args.side
    cases: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], tuple[int, ...]]] = {
        "9 x 9 from 32 channels to 3": (exit_layer, (4, 32, side, side)),
        "3 x 3 from 128 upsampled channels to 64": (
            halves[0].conv_after_upsample,
            (4, 128, side // 4, side // 4),
        ),
        "3 x 3 from 64 upsampled channels to 32": (
            halves[1].conv_after_upsample,
            (4, 64, side // 2, side // 2),
        ),
        "7 x 7 from 3 channels to 96, stride 2": (strided, (4, 3, side, side)),
    }
    keep_freed_memory()
    rows = []
    for name, (layer, shape) in cases.items():
        x = torch.rand(shape).bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_()

        def forward(layer: Any = layer, x: Any = x) -> Any:
            with torch.autocast("cpu", torch.bfloat16):
                return layer(x)

        upstream = torch.rand_like(forward())

        def both(forward: Any = forward, upstream: Any = upstream) -> None:
            forward().backward(upstream)

        def plain(action: Callable[[], Any]) -> Callable[[], Any]:
            def without() -> None:
                with mock.patch.object(space_to_depth_conv, "supports", return_value=False):
                    action()

            return without

        times = in_turn({"a": forward, "b": plain(forward), "c": both, "d": plain(both)}, args.runs)
        rows.append([name, *(f"{1e3 * times[key]:.0f}" for key in "badc")])
    head = ("bf16, ms", "as it is", "in blocks", "as it is, with gradients", "in blocks, with gradients")
    return [show(f"Layers, 4 crops of {side}", head, rows)]


def _photo(folder: Path, side: int) -> Path:
    path = folder / f"{side}.jpg"
    smooth = np.random.default_rng(0).random((1, 3, side // 8, side // 8), np.float32)
    image.write(path, image.resize(smooth, (side, side)))
    return path


def _texturenets(*words: str) -> list[str]:
    return [sys.executable, "-m", "texturenets", *words]


def startup(args: argparse.Namespace) -> list[str]:
    """Whole processes, the graph in the cache."""
    with tempfile.TemporaryDirectory() as folder:
        photo = _photo(Path(folder), args.size)
        stylize = ["stylize", str(photo), "-s", "wave", "-o", str(Path(folder) / "out.jpg"), "--quiet"]
        commands = {
            "python -c 'import torch'": [sys.executable, "-c", "import torch"],
            f"texturenets stylize, {args.size} x {args.size}": _texturenets(*stylize),
            "the same by PyTorch": _texturenets(*stylize, "--engine", "torch"),
            "texturenets --version": _texturenets("--version"),
        }
        actions = {
            name: lambda words=words: subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
            for name, words in commands.items()
        }
        times = in_turn(actions, args.runs)
    first = times["python -c 'import torch'"]
    rows = [[name, f"{value:.2f}", f"{value / first:.2f}"] for name, value in times.items()]
    return [show("Whole processes", ("", "s", "times the first row's"), rows)]


MANY = """
import sys
import numpy as np
from texturenets import engines, noise
from texturenets.engines.options import EngineOptions
from texturenets.modelfiles import modelfile
engine = engines.load(modelfile.find("wave"), EngineOptions(sys.argv[1]))
def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
sides = [256 + 4 * i for i in range(int(sys.argv[2]))]
marks = []
for _ in range(2):
    for height in sides:
        x = np.zeros((1, 3, height, 640 - height // 4 * 2 // 4 * 4), np.float32)
        engine(x, noise.draw_arrays(engine.io_spec.noise, [0], *x.shape[2:]))
    marks.append(peak())
print(*marks)
"""


def memory(args: argparse.Namespace) -> list[str]:
    """Bytes a pixel by each engine, and the largest resident set of whole processes, in MB."""
    rows = []
    for network, engine, measured, estimated in peaks.measure([*peaks.NETWORKS], 1024):
        ratio = estimated / measured
        near = "yes" if abs(ratio - 1) <= peaks.NEAR else "no"
        rows.append([f"{network}, {engine}", f"{measured:.0f}", f"{estimated:.0f}", f"{ratio:.2f}", near])
    head = ("", "bytes a pixel", "estimated", "ratio", f"within {100 * peaks.NEAR:.0f} %")
    return [show("An image of 1024 x 1024", head, rows), *_processes()]


def _processes() -> list[str]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for side in (512, 2048):
            photo = _photo(Path(folder), side)
            for name in ("torch", "openvino", "onnx"):
                words = _texturenets(
                    "stylize", str(photo), "-s", "wave", "-o", f"{folder}/out.jpg", "--engine", name
                )
                rows.append([f"stylize {side} x {side}, {name}", f"{_peak(words):.0f}", ""])
    for name in ("torch", "openvino", "onnx"):
        words = [sys.executable, "-c", MANY, name, "60"]
        once, twice = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
        rows.append(
            [f"60 sizes of about 0.2 megapixels, {name}", f"{float(once):.0f}", f"{float(twice):.0f}"]
        )
    return [show("Peak memory", ("", "MB", "MB, all sizes once more"), rows)]


def busy_cores(args: argparse.Namespace) -> list[str]:
    """Threads that wait in a loop or asleep, on quiet cores and beside two busy loops."""
    rows = [
        [name, f"{alone:.2f}", f"{beside:.2f}", f"{beside / alone:.1f}"]
        for name, alone, beside in busy.measure(1024, max(3, args.runs // 3))
    ]
    head = ("a step of 2 crops of 256; a photo of 1024 x 1024", "s alone", "s beside two loops", "times")
    return [show("Busy cores", head, rows)]


def by_passes(args: argparse.Namespace) -> list[str]:
    """Networks with all passes, and with all but one, in pairs."""
    rows = [
        [
            one.network,
            one.engine,
            one.name,
            f"{one.without:.1f}",
            f"{one.taken:.1f}",
            f"{100 * one.gain:+.0f} %",
        ]
        for one in passes.measure(args.size, args.runs)
    ]
    head = ("", "engine", "pass", "ms without", "ms with", "faster by")
    return [show(f"Passes, photos of {args.size}, textures of {args.size // 2}", head, rows)]


# By a small process: of one that this large one starts, the system counts this one's memory until it has begun.
PEAK = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def _peak(words: list[str]) -> float:
    """Peak megabytes of a process."""
    found = subprocess.run(
        [sys.executable, "-S", "-c", PEAK, *words], check=False, stdout=subprocess.PIPE, text=True
    )
    if found.returncode:
        sys.exit(f"{' '.join(words)} failed")
    return int(found.stdout) / (1024 if sys.platform != "darwin" else 1024**2)


SUBJECTS: dict[str, Callable[[argparse.Namespace], list[str]]] = {
    "stylize": stylize,
    "sizes": megapixels,
    "accuracy": accuracy,
    "sample": sample,
    "train": train,
    "blocks": layers_in_blocks,
    "startup": startup,
    "memory": memory,
    "passes": by_passes,
    "busy": busy_cores,
}


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("subject", choices=[*SUBJECTS])
    parser.add_argument("--size", type=int, default=512, help="side or longer side of photos in pixels")
    parser.add_argument("--side", type=int, default=256, help="side of training crops in pixels")
    parser.add_argument("--batch", type=int, default=4, help="training crops in a step")
    parser.add_argument("--runs", type=int, default=9, help="rounds that count")
    parser.add_argument("--photos", help="folder of photos, for accuracy")
    parser.add_argument("-o", "--output", type=Path, help="write the tables to this file, too")
    here = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=["cpu", "cuda"], default=here, help="for stylize and train")
    args = parser.parse_args()
    if args.subject == "accuracy" and not args.photos:
        parser.error("accuracy needs --photos")
    texts = SUBJECTS[args.subject](args)
    if args.output:
        args.output.write_text("\n".join(texts).lstrip() + "\n")


if __name__ == "__main__":
    main()
