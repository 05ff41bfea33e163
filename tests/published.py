"""Files as other programs publish them, made from nothing: writers of their formats, and small random networks."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float32]
Layout = Literal["binary", "binary32", "ascii"]

# Torch7


@dataclass(eq=False)
class Module:
    """An object of a class that is a name: "nn.ReLU" and its fields."""

    kind: str
    fields: dict[Any, Any] = field(default_factory=dict)


@dataclass(eq=False)
class View:
    """A tensor of `shape` in `storage` from `offset` on."""

    storage: Array
    offset: int
    shape: tuple[int, ...]


@dataclass(eq=False)
class Code:
    """A Lua function: its bytecode and what it refers to."""

    code: bytes = b"\x1bLuaR"
    upvalues: Any = None


class Torch7Writer:
    """Serializes as File.lua of torch7 does, byte by byte; objects that come twice are written once."""

    def __init__(self, layout: Layout = "binary") -> None:
        self.layout = layout
        self.out = bytearray()
        self.seen: dict[int, int] = {}
        self.keep: list[Any] = []

    def whole(self, value: int) -> None:
        self.out += b"%d\n" % value if self.layout == "ascii" else struct.pack("<i", value)

    def longs(self, values: tuple[int, ...]) -> None:
        if self.layout == "ascii":
            self.out += " ".join(map(str, values)).encode() + b"\n"
        else:
            self.out += struct.pack(f"<{len(values)}{'q' if self.layout == 'binary' else 'i'}", *values)

    def double(self, value: float) -> None:
        self.out += f"{value!r}\n".encode() if self.layout == "ascii" else struct.pack("<d", value)

    def text(self, value: bytes) -> None:
        self.whole(len(value))
        self.out += value + (b"\n" if self.layout == "ascii" else b"")

    def _again(self, value: Any, kind: int) -> bool:
        self.whole(kind)
        known = id(value) in self.seen
        self.keep.append(value)
        self.whole(self.seen.setdefault(id(value), len(self.seen) + 1))
        return known

    def object(self, kind: str) -> None:
        self.text(b"V 1")
        self.text(kind.encode())

    def write(self, value: Any) -> Torch7Writer:
        """Append `value`; the writer itself."""
        if value is None:
            self.whole(0)
        elif isinstance(value, bool):
            self.whole(5)
            self.whole(int(value))
        elif isinstance(value, int | float):
            self.whole(1)
            self.double(float(value))
        elif isinstance(value, str):
            self.whole(2)
            self.text(value.encode())
        elif isinstance(value, dict):
            self._table(value)
        elif isinstance(value, Module):
            if not self._again(value, 4):
                self.object(value.kind)
                self.write(value.fields)
        elif isinstance(value, View):
            self._tensor(value)
        elif isinstance(value, Code):
            if not self._again(value, 8):
                self.text(value.code)
                self.write(value.upvalues)
        else:
            self._tensor(View(np.ascontiguousarray(value, np.float32).reshape(-1), 0, np.shape(value)))
        return self

    def _table(self, value: dict[Any, Any]) -> None:
        if self._again(value, 3):
            return
        self.whole(len(value))
        for key, item in value.items():
            self.write(key)
            self.write(item)

    def _tensor(self, view: View) -> None:
        if self._again(view, 4):
            return
        self.object("torch.FloatTensor")
        self.whole(len(view.shape))
        strides = tuple(int(np.prod(view.shape[i + 1 :])) for i in range(len(view.shape)))
        self.longs(tuple(view.shape))
        self.longs(strides)
        self.longs((view.offset + 1,))
        if not self._again(view.storage, 4):
            self.object("torch.FloatStorage")
            self.longs((view.storage.size,))
            if self.layout == "ascii":
                self.out += " ".join(repr(float(v)) for v in view.storage).encode() + b"\n"
            else:
                self.out += view.storage.astype("<f4").tobytes()


def t7(value: Any, layout: Layout = "binary") -> bytes:
    """`value` as a `.t7` file."""
    return bytes(Torch7Writer(layout).write(value).out)


def sequence(*modules: Module, kind: str = "nn.Sequential", **fields: Any) -> Module:
    """A container of modules."""
    return Module(kind, {"modules": dict(enumerate(modules, 1)), "train": False, **fields})


def pad7(amount: int, kind: str = "nn.SpatialReplicationPadding") -> Module:
    """A padding module with `amount` on all sides."""
    return Module(kind, dict.fromkeys(("pad_l", "pad_r", "pad_t", "pad_b"), amount))


class Layers7:
    """Torch7 modules with random weights."""

    def __init__(self, seed: int = 0, backend: str = "nn") -> None:
        self.random = np.random.default_rng(seed)
        self.backend = backend

    def numbers(self, *shape: int, scale: float = 1.0) -> Array:
        return (self.random.standard_normal(shape) * scale).astype(np.float32)

    def conv(self, inputs: int, out: int, kernel: int, stride: int = 1, padding: int = 0) -> Module:
        fan = inputs * kernel**2
        return Module(
            f"{self.backend}.SpatialConvolution",
            {
                "nInputPlane": inputs, "nOutputPlane": out, "kW": kernel, "kH": kernel, "dW": stride, "dH": stride,
                "padW": padding, "padH": padding, "bias": self.numbers(out, scale=0.1),
                "weight": self.numbers(out, inputs, kernel, kernel, scale=fan**-0.5),
            },
        )  # fmt: skip

    def full_conv(self, inputs: int, out: int, kernel: int = 3, padding: int = 1, more: int = 1) -> Module:
        return Module(
            f"{self.backend}.SpatialFullConvolution",
            {
                "nInputPlane": inputs, "nOutputPlane": out, "kW": kernel, "kH": kernel, "dW": 2, "dH": 2,
                "padW": padding, "padH": padding, "adjW": more, "adjH": more,
                "weight": self.numbers(inputs, out, kernel, kernel, scale=0.2), "bias": self.numbers(out, scale=0.1),
            },
        )  # fmt: skip

    def norm(self, channels: int, kind: str = "nn.InstanceNormalization") -> Module:
        fields = {"nOutput": channels, "eps": 1e-5, "affine": True}
        fields["weight"], fields["bias"] = (
            1 + self.numbers(channels, scale=0.3),
            self.numbers(channels, scale=0.3),
        )
        return Module(kind, fields)

    def batch_norm(self, channels: int, old: bool = False) -> Module:
        module = self.norm(channels, "nn.SpatialBatchNormalization")
        module.fields["running_mean"] = self.numbers(channels)
        spread = np.abs(self.numbers(channels)) + 0.5
        module.fields["running_std" if old else "running_var"] = spread
        return module


def relu7() -> Module:
    """A ReLU."""
    return Module("nn.ReLU", {"inplace": True})


def master_johnson(
    channels: int = 4, blocks: int = 2, backend: str = "nn", full: tuple[int, int, int] = (3, 1, 1)
) -> Module:
    """models/johnson.lua of texture_nets; `full`: kernel, padding and adjustment of its full convolutions."""
    make, c = Layers7(backend=backend), channels
    modules: list[Module] = []
    for inputs, out, kernel, stride in ((3, c, 9, 1), (c, 2 * c, 3, 2), (2 * c, 4 * c, 3, 2)):
        modules += [pad7(kernel // 2), make.conv(inputs, out, kernel, stride), make.norm(out), relu7()]
    for _ in range(blocks):
        inner = sequence(
            pad7(1), make.conv(4 * c, 4 * c, 3), make.norm(4 * c), relu7(),
            pad7(1), make.conv(4 * c, 4 * c, 3), make.norm(4 * c),
        )  # fmt: skip
        both = sequence(Module("nn.Identity"), inner, kind="nn.ConcatTable")
        modules.append(sequence(both, Module("nn.CAddTable")))
    for inputs, out in ((4 * c, 2 * c), (2 * c, c)):
        if full[0] == 4:
            modules.append(pad7(2))
        modules += [make.full_conv(inputs, out, *full), make.norm(out), relu7()]
    modules += [pad7(1), make.conv(c, 3, 3), Module("nn.TVLoss", {"strength": 1e-6})]
    return sequence(*modules)


def first_texture(scales: int = 3, channels: int = 4, photo: bool = False, kind: str = "GenNoise") -> Module:
    """models/pyramid.lua of texture_nets' first version, its parameters in one storage.

    As in the published files, the normalizations of the joined maps are made for `channels` channels only.
    """
    make, circular = Layers7(), "nn.SpatialCircularPadding"
    inputs = 6 if photo else 3

    def block(inputs: int, out: int) -> list[Module]:
        made: list[Module] = []
        for kernel in (3, 3, 1):
            conv = make.conv(inputs, out, kernel)
            made += [sequence(pad7(1, circular), conv) if kernel > 1 else conv]
            made += [make.norm(out, "nn.SpatialBatchNormalization"), Module("nn.LeakyReLU", {"negval": 0.01})]
            inputs = out
        return made

    current: list[Module] = []
    for i in range(scales):
        size = 2 ** (scales - 1 - i)
        window = dict.fromkeys(("kW", "kH", "dW", "dH"), size) | {"padW": 0, "padH": 0}
        noise = Module(f"nn.{kind}", {"num_noise_channels": 3} if kind == "NoiseFill" else {})
        fine = [Module("nn.SpatialAveragePooling", window), noise, *block(inputs, channels)]
        if i == 0:
            current = fine
        else:
            short = make.norm(channels, "nn.SpatialBatchNormalization")
            coarse = [*current, Module("nn.SpatialUpSamplingNearest", {"scale_factor": 2}), short]
            fine.append(make.norm(channels, "nn.SpatialBatchNormalization"))
            joined = sequence(sequence(*coarse), sequence(*fine), kind="nn.Concat", dimension=2)
            current = [joined, *block(channels * (i + 1), channels * (i + 1))]
    current.append(make.conv(channels * scales, 3, 1))
    tree = sequence(*current)
    _flatten(tree)
    return tree


def _flatten(tree: Module) -> None:
    """Put all weights and biases into one storage, one after the other, as getParameters does."""
    places: list[tuple[dict[Any, Any], str]] = []

    def walk(module: Module) -> None:
        places.extend((module.fields, key) for key in ("weight", "bias") if key in module.fields)
        for child in module.fields.get("modules", {}).values():
            walk(child)

    walk(tree)
    storage = np.concatenate([fields[key].reshape(-1) for fields, key in places])
    offset = 0
    for fields, key in places:
        array = fields[key]
        fields[key] = View(storage, offset, array.shape)
        offset += array.size


def fast_neural_style(
    *, reflect_start: bool = True, instance: bool = True, preprocessing: str = "vgg", nearest: bool = False
) -> dict[str, Any]:
    """A checkpoint of jcjohnson/fast-neural-style: model and opt; c9s1-4,d8,R8 and two ways up, c9s1-3."""
    make = Layers7()

    def norm(channels: int) -> Module:
        return make.norm(channels) if instance else make.batch_norm(channels)

    modules = [make.conv(3, 4, 9, 1, 4), norm(4), relu7(), make.conv(4, 8, 3, 2, 1), norm(8), relu7()]
    inside = 0 if reflect_start else 1
    block = [make.conv(8, 8, 3, 1, inside), norm(8), relu7(), make.conv(8, 8, 3, 1, inside), norm(8)]
    way = Module("nn.ShaveImage", {"size": 2}) if reflect_start else Module("nn.Identity")
    both = sequence(sequence(*block), way, kind="nn.ConcatTable")
    modules.append(sequence(both, Module("nn.CAddTable")))
    if nearest:
        modules += [Module("nn.SpatialUpSamplingNearest", {"scale_factor": 2}), make.conv(8, 4, 3, 1, 1)]
    else:
        modules.append(make.full_conv(8, 4))
    modules += [norm(4), relu7(), make.conv(4, 3, 9, 1, 4), Module("nn.Tanh")]
    modules += [
        Module("nn.MulConstant", {"constant_scalar": 150}),
        Module("nn.TotalVariation", {"strength": 1}),
    ]
    if reflect_start:
        modules.insert(0, pad7(4, "nn.SpatialReflectionPadding"))
    options = {"arch": "c9s1-4,d8,R8,u4,c9s1-3", "preprocessing": preprocessing}
    return {"model": sequence(*modules), "opt": options, "iterations": 40000}


# PyTorch


def transformer_net(channels: int = 4, blocks: int = 2, old: bool = False) -> dict[str, torch.Tensor]:
    """A state dictionary with the names and shapes of pytorch/examples' TransformerNet; `old` with statistics."""
    random = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}

    def conv(name: str, inputs: int, out: int, kernel: int) -> None:
        weight = torch.randn(out, inputs, kernel, kernel, generator=random) * (inputs * kernel**2) ** -0.5
        state[f"{name}.conv2d.weight"] = weight
        state[f"{name}.conv2d.bias"] = torch.randn(out, generator=random)

    def norm(name: str, count: int) -> None:
        state[f"{name}.weight"] = 1 + 0.3 * torch.randn(count, generator=random)
        state[f"{name}.bias"] = 0.3 * torch.randn(count, generator=random)
        if old:
            state[f"{name}.running_mean"] = torch.zeros(count)
            state[f"{name}.running_var"] = torch.ones(count)

    c = channels
    for i, (inputs, out, kernel) in enumerate(((3, c, 9), (c, 2 * c, 3), (2 * c, 4 * c, 3)), 1):
        conv(f"conv{i}", inputs, out, kernel)
        norm(f"in{i}", out)
    for i in range(1, blocks + 1):
        for j in (1, 2):
            conv(f"res{i}.conv{j}", 4 * c, 4 * c, 3)
            norm(f"res{i}.in{j}", 4 * c)
    for i, (inputs, out) in enumerate(((4 * c, 2 * c), (2 * c, c)), 1):
        conv(f"deconv{i}", inputs, out, 3)
        norm(f"in{i + 3}", out)
    conv("deconv3", c, 3, 9)
    return state


# TensorFlow


def fast_style_transfer(channels: int = 4, blocks: int = 2) -> dict[str, Array]:
    """Variables with the names and shapes of lengstrom/fast-style-transfer."""
    random, c = np.random.default_rng(0), channels
    layers = [(9, 3, c), (3, c, 2 * c), (3, 2 * c, 4 * c), *[(3, 4 * c, 4 * c)] * (2 * blocks)]
    kernels = [random.standard_normal((k, k, i, o)) for k, i, o in layers]
    kernels += [random.standard_normal((3, 3, o, i)) for i, o in ((4 * c, 2 * c), (2 * c, c))]  # transposed
    kernels.append(random.standard_normal((9, 9, c, 3)))
    found: list[Any] = []
    for number, kernel in enumerate(kernels):
        out = kernel.shape[2] if number in (len(kernels) - 3, len(kernels) - 2) else kernel.shape[3]
        found += [0.1 * kernel, 0.3 * random.standard_normal(out), 1 + 0.3 * random.standard_normal(out)]
    return {("Variable" if i == 0 else f"Variable_{i}"): v.astype(np.float32) for i, v in enumerate(found)}


def raw_variables(folder: Path, variables: dict[str, Array]) -> Path:
    """A folder with a manifest, as ports to browsers have it."""
    folder.mkdir()
    manifest = {}
    for name, array in variables.items():
        file = name.replace("/", "_")
        (folder / file).write_bytes(array.astype("<f4").tobytes())
        manifest[name] = {"filename": file, "shape": list(array.shape)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def varint(value: int) -> bytes:
    """A whole number in protobuf's and LevelDB's way."""
    out = bytearray()
    value &= (1 << 64) - 1
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def message(*fields: tuple[int, int | float | bytes | str]) -> bytes:
    """A protobuf message: whole numbers as varints, floats in 32 bits, bytes and texts with a length."""
    out = b""
    for number, value in fields:
        if isinstance(value, float):
            out += varint(number << 3 | 5) + struct.pack("<f", value)
        elif isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def table(entries: dict[bytes, bytes]) -> bytes:
    """A table of LevelDB: one block of data, an empty one, and one that says where the first is."""

    def block(pairs: list[tuple[bytes, bytes]]) -> bytes:
        body, last = b"", b""
        for i, (key, value) in enumerate(pairs):
            shared = 0
            while i % 16 and shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
            body += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
            last = key
        restarts = struct.pack("<II", 0, 1)  # readers that go through all entries need no more
        return body + restarts

    out, handles = b"", []
    pairs = sorted(entries.items())
    for content in (block(pairs), block([])):
        handles.append(varint(len(out)) + varint(len(content)))
        out += content + b"\0" + b"\0\0\0\0"
    index = block([(pairs[-1][0], handles[0])])
    footer = handles[1] + varint(len(out)) + varint(len(index))
    out += index + b"\0" + b"\0\0\0\0"
    return out + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def _shape_message(shape: tuple[int, ...]) -> bytes:
    return message(*((2, message((1, n))) for n in shape))


def checkpoint_v1(variables: dict[str, Array]) -> bytes:
    """A checkpoint of TensorFlow's first version."""
    metas = [(1, message((1, name), (2, _shape_message(v.shape)), (3, 1))) for name, v in variables.items()]
    entries = {b"": message((1, message(*metas)))}
    for name, array in variables.items():
        tensor = message((1, 1), (5, array.astype("<f4").tobytes()))
        entries[b"\0\1" + name.encode()] = message((2, message((1, name), (3, tensor))))
    return table(entries)


def checkpoint_v2(prefix: Path, variables: dict[str, Array]) -> Path:
    """A checkpoint of TensorFlow's second version, two files; `prefix` itself is none."""
    entries, data = {b"": message((1, 1))}, b""
    for name, array in sorted(variables.items()):
        raw = array.astype("<f4").tobytes()
        fields = [(1, 1), (2, _shape_message(array.shape)), (4, len(data)), (5, len(raw))]
        entries[name.encode()] = message(*fields)  # type: ignore[arg-type]
        data += raw
    prefix.with_name(prefix.name + ".index").write_bytes(table(entries))
    prefix.with_name(prefix.name + ".data-00000-of-00001").write_bytes(data)
    return prefix


# ONNX


@dataclass
class OnnxWriter:
    """An ONNX graph, operation by operation."""

    nodes: list[bytes] = field(default_factory=list)
    arrays: list[bytes] = field(default_factory=list)
    count: int = 0

    def array(self, values: Any) -> str:
        """An initializer; its name."""
        values = np.asarray(values)
        kind = {"f": 1, "i": 7}[values.dtype.kind]
        raw = values.astype("<f4" if kind == 1 else "<i8").tobytes()
        name = f"w{len(self.arrays)}"
        dims = [(1, n) for n in values.shape]
        self.arrays.append(message(*dims, (2, kind), (8, name), (9, raw)))
        return name

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """An operation; the name of what it gives."""
        self.count += 1
        name = f"v{self.count}"
        fields = [*((1, i) for i in inputs), (2, name), (4, kind)]
        self.nodes.append(message(*fields, *((5, _attribute(k, v)) for k, v in attributes.items())))
        return name

    def model(self, last: str, size: int = 0, metadata: dict[str, str] | None = None) -> bytes:
        """The file: fed with "photo", its image is `last`; `size`: the height and width that it says it takes."""
        shape = message(*((1, message((1, n)) if n else b"") for n in (1, 3, size, size)))
        photo = message((1, "photo"), (2, message((1, message((1, 1), (2, shape))))))
        graph = [
            *((1, n) for n in self.nodes),
            *((5, a) for a in self.arrays),
            (11, photo),
            (12, message((1, last))),
        ]
        texts = [(14, message((1, k), (2, v))) for k, v in (metadata or {}).items()]
        return message((1, 7), (7, message(*graph)), (8, message((2, 13))), *texts)


def _attribute(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        return message((1, name), (4, value), (20, 3))
    if isinstance(value, float):
        return message((1, name), (2, value), (20, 1))
    if isinstance(value, int):
        return message((1, name), (3, value), (20, 2))
    if value and isinstance(value[0], float):
        return message((1, name), *((7, v) for v in value), (20, 6))
    return message((1, name), *((8, v) for v in value), (20, 7))


def onnx_chain() -> bytes:
    """A small style network: a 5 x 5 and a strided convolution, a residual sum, upsampling, RGB 0 to 255."""
    random, graph = np.random.default_rng(0), OnnxWriter()

    def conv(source: str, inputs: int, out: int, kernel: int, stride: int = 1) -> str:
        pads = [0, 0, kernel // 2, kernel // 2] * 2
        padded = graph.add("Pad", source, graph.array(np.array(pads)), mode="reflect")
        weight = graph.array(random.standard_normal((out, inputs, kernel, kernel)) * 0.2)
        bias = graph.array(random.standard_normal(out) * 0.1)
        return graph.add("Conv", padded, weight, bias, strides=[stride] * 2, kernel_shape=[kernel] * 2)

    def norm(source: str, count: int) -> str:
        scale, shift = graph.array(1 + 0.3 * random.standard_normal(count)), graph.array(np.zeros(count))
        return graph.add("InstanceNormalization", source, scale, shift, epsilon=1e-5)

    current = graph.add("Relu", norm(conv("photo", 3, 4, 5), 4))
    current = graph.add("Relu", norm(conv(current, 4, 8, 3, 2), 8))
    current = graph.add("Add", norm(conv(current, 8, 8, 3), 8), current)
    scales = graph.array(np.array([1.0, 1.0, 2.0, 2.0]))
    current = graph.add("Resize", current, "", scales, mode="nearest")
    current = graph.add("Tanh", conv(current, 8, 3, 5))
    current = graph.add("Mul", current, graph.array(np.array(150.0)))
    current = graph.add("Add", current, graph.array(np.full((3, 1, 1), 127.5)))
    return graph.model(current)
