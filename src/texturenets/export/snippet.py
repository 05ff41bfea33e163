"""A short example program that runs an exported file on an image of any size: pad, run, crop."""

from __future__ import annotations

from typing import Final

from texturenets.graph import IOSpec
from texturenets.stylize.style import MIN_NETWORK_SIDE

_PHOTO: Final = """\
import numpy as np, onnxruntime
from PIL import Image
x = np.asarray(Image.open("photo.jpg").convert("RGB"), np.float32).transpose(2, 0, 1)[None] / 255
height, width = x.shape[2:]
rows, columns = (-(-max(n + 2 * {margin}, {min_side}) // {stride}) * {stride} for n in (height, width))
top, left = (rows - height) // 2, (columns - width) // 2
around = (0, 0), (0, 0), (top, rows - height - top), (left, columns - width - left)
inputs = {{"photo": np.pad(x, around, "reflect")}}  # reflection padding
"""

_SAMPLE: Final = """\
import numpy as np, onnxruntime
from PIL import Image
height, width = {sample}  # of the image
rows, columns = (-(-max(n, {min_side}) // {stride}) * {stride} for n in (height, width))
top = left = 0
inputs = {{}}
"""

_WAVES: Final = """\
down, right = {stride} * np.indices((rows // {stride}, columns // {stride}))
waves = [(round(a * rows) / rows, round(b * columns) / columns) for a, b in {waves}]  # so that the image tiles
angles = [2 * np.pi * (a * down + b * right + random.random()) for a, b in waves]
inputs["noise{i}"] = np.stack([f(a) for a in angles for f in (np.sin, np.cos)])[None].astype(np.float32)
"""

_STYLES: Final = """\
inputs["styles"] = np.array({weights}, np.float32).reshape(1, -1, 1, 1)  # the weights of {names}
# or by region, from maps ({count}, height, width): inputs["styles"] = np.pad(maps[None], around, "reflect")
"""

_RUN: Final = """\
y = onnxruntime.InferenceSession({file!r}).run(None, inputs)[0]
y = y[0, :3, top : top + height, left : left + width].clip(0, 1)  # a material has further maps behind the first
Image.fromarray((255 * y).round().astype("uint8").transpose(1, 2, 0)).save("result.png")
"""


def snippet(io_spec: IOSpec, file: str, styles: str = "") -> str:
    """A program that runs the ONNX file `file`: it stylizes photo.jpg, or generates a sample, and writes result.png.

    It needs numpy, onnxruntime and Pillow; its result is that of texturenets in float32. `styles`: comma-separated
    style names, if the network has several; the program uses the first.
    """
    min_side = io_spec.min_side if io_spec.fixed_size else max(MIN_NETWORK_SIDE, io_spec.min_side)
    sample = (io_spec.stride, io_spec.stride) if io_spec.fixed_size else (480, 640)
    numbers = {
        "margin": io_spec.margin,
        "min_side": min_side,
        "stride": io_spec.stride,
        "sample": sample,
        "file": file,
    }
    program = (_PHOTO if io_spec.channels else _SAMPLE).format(**numbers)
    if io_spec.noise:
        program += "random = np.random.default_rng(0)\n"
    for i, noise_input in enumerate(io_spec.noise):
        if noise_input.waves:
            program += _WAVES.format(i=i, stride=noise_input.stride, waves=noise_input.waves)
            continue
        drawn = "random.standard_normal" if noise_input.distribution == "normal" else "random.random"
        shape = f"(1, {noise_input.channels}, rows // {noise_input.stride}, columns // {noise_input.stride})"
        program += f'inputs["noise{i}"] = {drawn}({shape}, np.float32)\n'
    if styles:
        count = styles.count(",") + 1
        weights = [1] + [0] * (count - 1)
        names = "".join(c if c.isprintable() else " " for c in styles)  # they are put into a comment
        program += _STYLES.format(weights=weights, names=names, count=count)
    return program + _RUN.format(**numbers)
