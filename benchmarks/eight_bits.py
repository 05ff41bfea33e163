"""What 8 bits would bring and cost: a style quantized with NNCF beside bf16 and float32.

    eight_bits.py MODEL --style PAINTING --photos DIR --calibrate DIR [--weights DIR]

A table a row a way of computing: milliseconds at 512 x 512 (medians of runs in turn), the difference from float32
in 255ths over the photos, and how much worse the scores become: the sums over the layers of SqueezeNet and of VGG-16
of |G - G_style|^2 / |G_style|^2, and the relative squared distance from the photo at fire4. "8 bits" leaves the
first and the last layers, at more than a quarter of the resolution, as they are; "8 bits, all layers" does not.

Needs openvino, onnx and nncf (pip install nncf).
"""

from __future__ import annotations

import argparse
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speed import in_turn, show

from texturenets import descriptors, engines, image, modelfile, runs, sizes
from texturenets.engines import openvino_engine
from texturenets.statistics import gram

CALIBRATION = 100  # photos


def _distance(matrix: torch.Tensor, target: torch.Tensor) -> float:
    return float((matrix - target).square().mean() / target.square().mean())


def main() -> None:
    """Quantize, run, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    for name in ("--style", "--photos", "--calibrate"):
        parser.add_argument(name, required=True)
    parser.add_argument("--weights", action="append", default=[])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()

    core = openvino_engine.core()
    with openvino_engine.no_telemetry():
        import nncf
    data, facts = engines.convert(modelfile.find(args.model), split=True)
    plain = core.read_model(io.BytesIO(data))

    def padded(path: Path) -> Any:
        return sizes.pad_to_multiple(image.read(path, longer=args.size).pixels, facts.stride, 64)[0]

    calibration = nncf.Dataset(image.expand([args.calibrate])[:CALIBRATION], lambda path: [padded(path)])

    def quantized(**options: Any) -> Any:
        return nncf.quantize(
            plain.clone(),
            calibration,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=CALIBRATION,
            **options,
        )

    convolutions = [
        op.get_friendly_name() for op in plain.get_ordered_ops() if op.get_type_name() == "Convolution"
    ]
    outer = [convolutions[0], *convolutions[-3:]]
    inner = nncf.IgnoredScope(patterns=[f"^{re.escape(name)}(/.*)?$" for name in outer])
    bf16 = openvino_engine.choose_precision(core, "auto")
    ways = {
        "float32": (plain, "float32"),
        bf16: (plain, bf16),
        "8 bits": (quantized(ignored_scope=inner), bf16),
        "8 bits, all layers": (quantized(), bf16),
    }
    requests = {
        name: core.compile_model(
            model, "CPU", openvino_engine.compile_options(precision)
        ).create_infer_request()
        for name, (model, precision) in ways.items()
    }
    x = np.random.default_rng(0).random((1, 3, args.size, args.size), np.float32)
    times = in_turn({n: lambda r=r: r.infer([x], share_inputs=True) for n, r in requests.items()}, args.runs)

    layers = (*runs.SQUEEZENET_LAYERS, *runs.VGG_LAYERS)
    networks = descriptors.build(layers, files=args.weights)
    style = image.read(args.style, longer=args.size).rgb
    with torch.inference_mode():
        targets = {k: gram(f) for k, f in networks(style).items()}
    differences: dict[str, list[Any]] = {name: [] for name in ways}
    scores: dict[str, list[list[float]]] = {name: [] for name in ways}
    with torch.inference_mode():
        for path in image.expand([args.photos]):
            photo = padded(path)
            content = networks(torch.from_numpy(photo), ["squeezenet1_0:fire4"])["squeezenet1_0:fire4"]
            drawn = {name: np.array(r.infer([photo])[0]).clip(0, 1) for name, r in requests.items()}
            for name, y in drawn.items():
                differences[name].append(255 * np.abs(y - drawn["float32"]).ravel())
                features = networks(torch.from_numpy(y))
                distances = {k: _distance(gram(features[k]), target) for k, target in targets.items()}
                sums = [sum(d for k, d in distances.items() if k.startswith(n)) for n in ("squeeze", "vgg")]
                far = (features["squeezenet1_0:fire4"] - content).square().mean() / content.square().mean()
                scores[name].append([*sums, float(far)])
    base = np.mean(scores["float32"], 0)
    rows = []
    for name, value in times.items():
        together = np.concatenate(differences[name])
        change = 100 * (np.mean(scores[name], 0) / base - 1)
        rows.append(
            [
                name,
                f"{1e3 * value:.1f}",
                f"{together.mean():.2f} / {np.quantile(together, 0.999):.1f} / {together.max():.0f}",
                " / ".join(f"{one:+.1f}" for one in change),
            ]
        )
    head = ("", "ms", "difference: mean / 99.9th / largest", "squeezenet / vgg / content, % worse")
    show(f"{args.model}, {args.size} pixels, calibrated on {args.calibrate}", head, rows)


if __name__ == "__main__":
    main()
