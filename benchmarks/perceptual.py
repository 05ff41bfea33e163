"""How well `own` orders pictures as VGG-16 and SqueezeNet do, what it costs, and how large it is.

    python benchmarks/perceptual.py [own.safetensors ...] [--models FILE ...] [--photos N] [--sizes 256,384]

The pictures are photos that nobody trained on (../shared/images/content/eval), stylized at several sizes by the
shipped styles, by published networks (../shared/torch7), by spoiled copies of both, which stand for half-trained
ones, and by what `--models` names. For one painting at a time the pictures are ordered by the distance of their Gram
matrices to the painting's; for one photo at a time pairs of pictures by the distance of their content features.
Printed are Spearman's correlations with their distances, layer by layer: the mean and the worst painting. Networks
whose pictures a file was distilled on, by its header, are left out of the second table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from bars import descriptors, shared
from scipy.stats import kendalltau, spearmanr
from torch import Tensor, nn

from texturenets import image, noise, perceptual, readers
from texturenets.converters import convert
from texturenets.image.sizes import fit_longer
from texturenets.losses import Objective
from texturenets.losses.gram import gram
from texturenets.modelfiles import modelfile
from texturenets.networks import network_files
from texturenets.perceptual import Descriptor, weights
from texturenets.perceptual.architectures import PLANS, LinearMap, PoolLayer
from texturenets.readers.layouts import LAYERS, OWN_MAPS
from texturenets.train.configuration import StyleConfig
from texturenets.train.distillation.generated import spoiled, style_files
from texturenets.train.presets import layers_of

GRAM_AIM, CONTENT_AIM = 0.95, 0.97
CONTENT = ("relu4_2", "relu4_3")
PHOTOS = ("chicago", "hoovertowernight", "tubingen", "stata", "tiger", "golden_gate")


def arithmetic(network: str, last: str) -> float:
    """Multiplications of a pixel of the image, up to the layer `last`, the maps of `own` with them."""
    shapes = {layer.key: layer.shape for layer in LAYERS[network]}
    area, total = 1.0, 0.0
    for step in PLANS[network]:
        if isinstance(step, PoolLayer):
            area /= 4
        else:
            places = area / step.stride**2 if isinstance(step, LinearMap) else area
            total += places * float(np.prod(shapes[step.key]))  # type: ignore[union-attr]
        if step.name == last:
            break
    return total


@dataclass
class Seen:
    """What one descriptor network says: distances by the teachers' layers."""

    network: Descriptor | perceptual.Descriptors
    layers: dict[str, str]
    paintings: dict[str, list[Tensor]] = field(default_factory=dict)  # Gram matrices, one a painting
    style: dict[str, list[Tensor]] = field(default_factory=dict)  # (paintings,) distances, one a picture
    content: dict[str, list[float]] = field(default_factory=dict)  # one a pair of pictures of one photo
    kept: dict[str, list[Tensor]] = field(default_factory=dict)

    @torch.no_grad()
    def features(self, picture: Tensor) -> dict[str, Tensor]:
        """Features of a picture (1, 3, H, W) by the teachers' layers."""
        out = self.network(picture)
        return {name: out[layer] for name, layer in self.layers.items()}

    def learn(self, painting: Tensor) -> None:
        """Keep the Gram matrices of a painting (1, 3, H, W)."""
        for name, features in self.features(painting).items():
            self.paintings.setdefault(name, []).append(gram(features))

    def look(self, picture: Tensor) -> None:
        """Take the distances of a picture (1, 3, H, W) to the paintings."""
        for name, features in self.features(picture).items():
            matrix = gram(features)
            far = torch.stack([(matrix - target).square().mean() for target in self.paintings[name]])
            self.style.setdefault(name, []).append(far)
            if name in CONTENT:
                self.kept.setdefault(name, []).append(features)

    def compare(self) -> None:
        """Take the distances between the pictures since the last call, which are of one photo and one size."""
        for name, kept in self.kept.items():
            for a, b in itertools.combinations(kept, 2):
                self.content.setdefault(name, []).append(float((a - b).square().mean()))
        self.kept = {}


def teacher(files: Sequence[str]) -> Seen:
    """VGG-16 up to relu4_3, and SqueezeNet."""
    layers = {made.layer: made.teacher for made in OWN_MAPS}
    return Seen(perceptual.build(layers.values(), files=files), layers)


def student(file: Path) -> Seen:
    """`own` of a file of weights."""
    layers = {made.layer: made.name for made in OWN_MAPS}
    return Seen(Descriptor(weights.read(file, "own"), layers.values()), layers)


def networks(models: Sequence[str], folder: Path) -> dict[str, nn.Module]:
    """The networks that draw the pictures, by name."""
    files = style_files(("shipped",))
    for path in sorted((shared() / "torch7").glob("*style.t7")):
        files[path.stem] = str(folder / f"{path.stem}.safetensors")
        convert(path).save(files[path.stem])
    files |= {Path(model).stem + "+": model for model in models}
    return {name: network_files.load(modelfile.find(file))[0] for name, file in files.items()}


def pictures(
    drawn: dict[str, nn.Module], photos: Sequence[str], sizes: Sequence[int]
) -> Iterator[list[tuple[str, Tensor]]]:
    """For each photo and size the photo and its pictures (1, 3, H, W), with the names of the networks."""
    for (at, photo), size in itertools.product(enumerate(photos), sizes):
        read = image.read(shared() / "images/content/eval" / f"{photo}.jpg").rgb
        height, width = (n // 16 * 16 for n in fit_longer((read.shape[2], read.shape[3]), size))
        source = image.resize(read, (height, width)).clamp(0, 1)
        made = [("photo", source)]
        for number, (name, network) in enumerate(drawn.items()):
            made.append((name, _stylized(network, source, {}, number)))
            random = np.random.default_rng((99, at, size, number))
            made.append((f"{name}, spoiled", _stylized(network, source, spoiled(network, random), number)))
        yield made


@torch.no_grad()
def _stylized(network: nn.Module, photo: Tensor, changed: dict[str, Tensor], seed: int) -> Tensor:
    inputs = tuple(getattr(network, "noise", ()))
    maps = noise.draw(inputs, [seed], photo.shape[2], photo.shape[3])
    given = (photo, maps) if inputs else (photo,)
    made: Tensor = torch.func.functional_call(network, changed, given)
    return made.clamp(0, 1)


def report(theirs: Seen, own: Seen, chosen: list[int], paintings: Sequence[str]) -> dict[str, float]:
    """Print the table of the pictures `chosen`; the worst figures."""
    pairs = len(chosen) * (len(chosen) - 1) // 2
    print(
        f"\nGram distances to {len(paintings)} paintings, {len(chosen)} pictures, {pairs} pairs a painting\n"
    )
    print("| layer | Spearman, mean | worst | worst painting | pairs in the same order, mean | worst |")
    print("|---|---|---|---|---|---|")
    worst: dict[str, float] = {}
    for name in theirs.layers:
        a, b = (torch.stack(seen.style[name])[chosen] for seen in (theirs, own))
        each = torch.tensor([spearmanr(a[:, i], b[:, i]).statistic for i in range(len(paintings))])
        alike = torch.tensor(
            [(kendalltau(a[:, i], b[:, i]).statistic + 1) / 2 for i in range(len(paintings))]
        )
        at = int(each.argmin())
        worst[name] = float(each.min())
        print(
            f"| {name} | {each.mean():.3f} | {worst[name]:.3f} | {paintings[at]} "
            f"| {alike.mean():.3f} | {alike.min():.3f} |"
        )
    return worst


def content(theirs: Seen, own: Seen) -> None:
    """Print the table of content distances."""
    print(f"\nContent distances, {len(theirs.content[CONTENT[0]])} pairs of pictures of the same photo\n")
    print("| layer | Spearman |\n|---|---|")
    for name in CONTENT:
        a, b = (torch.tensor(seen.content[name]) for seen in (theirs, own))
        print(f"| {name} | {spearmanr(a, b).statistic:.3f} |")


def step_time(file: Path, files: Sequence[str], side: int = 256, repeats: int = 3) -> dict[str, float]:
    """Seconds of the losses' forward and backward pass on a picture of `side` pixels, by network."""
    picture, found = torch.rand(1, 3, side, side), {}
    for network in ("vgg16", "own"):
        style, photo = layers_of(network)
        settings = asdict(replace(StyleConfig(), style_layers=style, content_layers=photo))
        nets = perceptual.build((*style, *photo), files=[*files, f"own={file}"])
        objective = Objective.from_settings(nets, settings, [picture])
        targets, times = objective.targets(picture), []
        for _ in range(repeats):
            x = picture.clone().requires_grad_()
            begun = time.perf_counter()
            torch.stack(list(objective(x, targets).values())).sum().backward()
            times.append(time.perf_counter() - begun)
        found[network] = float(np.median(times))
    return found


def cost(file: Path, files: Sequence[str]) -> None:
    """Print size, arithmetic and time."""
    theirs, own = arithmetic("vgg16", "relu4_3"), arithmetic("own", "map_relu4_3")
    print(
        f"\n{file}: {file.stat().st_size / 1e6:.2f} MB; {own / 1e3:.1f} thousand multiplications a pixel, ",
        end="",
    )
    print(f"1/{theirs / own:.2f} of VGG-16's {theirs / 1e3:.1f} up to relu4_3")
    seconds = step_time(file, files)
    print(f"losses of a picture of 256 x 256, forward and backward: {1000 * seconds['own']:.0f} ms, ", end="")
    print(f"VGG-16 {1000 * seconds['vgg16']:.0f} ms: 1/{seconds['vgg16'] / seconds['own']:.1f}")


def seen_names(file: Path) -> set[str]:
    """Names of the styles whose pictures a file of `own` was distilled on."""
    training = json.loads(readers.metadata(file).get("training", "{}"))
    return set(training.get("models", {}))


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--models", nargs="*", default=[])
    parser.add_argument("--photos", type=int, default=3)
    parser.add_argument("--sizes", default="256,384", help="longer sides of the pictures in pixels")
    parser.add_argument("--painting", type=int, default=512, help="longer side of the paintings in pixels")
    given = parser.parse_args()
    shipped = weights.shipped("own")
    files = given.files or ([shipped] if shipped else [])
    if not files:
        parser.error("own does not ship yet: name a file of weights")
    theirs, students = teacher(descriptors()), [student(file) for file in files]
    paintings = sorted((shared() / "images/style").glob("*"))
    for path in paintings:
        painting = image.read(path, longer=given.painting).on_white
        for seen in (theirs, *students):
            seen.learn(painting)
    names: list[str] = []
    with TemporaryDirectory() as folder:
        drawn = networks(given.models, Path(folder))
        for group in pictures(drawn, PHOTOS[: given.photos], [int(s) for s in given.sizes.split(",")]):
            names += [name for name, _ in group]
            for seen in (theirs, *students):
                for _, picture in group:
                    seen.look(picture)
                seen.compare()
    for file, own in zip(files, students, strict=True):
        print(f"\n## {file}\n\nnetworks: {', '.join(drawn)}; aims: {GRAM_AIM} and {CONTENT_AIM}")
        stems = [path.stem for path in paintings]
        report(theirs, own, list(range(len(names))), stems)
        known = seen_names(file)
        fresh = [i for i, name in enumerate(names) if name.partition(",")[0] not in known]
        if len(fresh) < len(names):
            print(f"\nWithout pictures by {', '.join(sorted(known))}:")
            report(theirs, own, fresh, stems)
        content(theirs, own)
        cost(file, descriptors())


if __name__ == "__main__":
    main()
