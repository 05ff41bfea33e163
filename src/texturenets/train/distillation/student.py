"""The network `own` in training: its convolutions, its linear maps, and for each of these a matrix to the teacher's
channels.

The matrix M (C, c) takes the c channels of a map to the C of the teacher's layer. With it, Gram matrices and
distances should be those of the teacher, but multiplying by M costs more than many convolutions. With M = Q R, Q of
orthonormal columns, R f has the same distances as M f, and R (c, c) is small: in the file it is part of the map.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.perceptual.architectures import PLANS, ConvLayer, PoolLayer
from texturenets.perceptual.preprocessing import Preprocessing
from texturenets.perceptual.weights import CONVENTIONS
from texturenets.readers.layouts import LAYERS, OWN_MAPS

NETWORK = "own"
TEACHERS = tuple(dict.fromkeys(m.teacher.partition(":")[0] for m in OWN_MAPS))
ALIGNED = tuple(m.layer for m in OWN_MAPS if m.teacher.startswith("vgg16:"))
"""Layers whose positions are the teacher's. SqueezeNet's lie up to half a position beside them: its poolings take
three rows where VGG-16's take two."""


def teacher_width(teacher: str) -> int:
    """Channels of the layer `network:layer`; of a fire module both expansions."""
    network, _, name = teacher.partition(":")
    parts = [layer for layer in LAYERS[network] if layer.output == name]
    return sum(layer.shape[0] for layer in parts if not layer.key.endswith("squeeze"))


class Student(nn.Module):
    """Images (N, 3, H, W), RGB in [0, 1], to {"relu1_2": features (N, c, H, W), ...} by the teachers' layers."""

    def __init__(self) -> None:
        super().__init__()
        self.plan = PLANS[NETWORK]
        self.convolutions, self.maps, self.matrices = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for layer in LAYERS[NETWORK]:
            outputs, inputs, size, _ = layer.shape
            if layer.key.startswith("map_"):
                self.maps[layer.key] = nn.Conv2d(inputs, outputs, size, size, bias=False)
            else:
                self.convolutions[layer.key] = nn.Conv2d(inputs, outputs, size, padding=size // 2)
        for made in OWN_MAPS:
            self.matrices[made.layer] = nn.Conv2d(made.outputs, teacher_width(made.teacher), 1, bias=False)
        self.preprocess = Preprocessing(CONVENTIONS[NETWORK])

    def convolution(self, key: str) -> nn.Conv2d:
        """The convolution or map of that name in the files."""
        module = (self.maps if key in self.maps else self.convolutions)[key]
        assert isinstance(module, nn.Conv2d)
        return module

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The features that stand for the teachers', in the order of evaluation."""
        found = self.before_maps(x)
        return {m.layer: self.maps[m.name](found[m.after]) for m in OWN_MAPS}

    def before_maps(self, x: Tensor) -> dict[str, Tensor]:
        """The outputs of the convolutions, {"1_1": (N, c, H, W), ...}."""
        x, out = self.preprocess(x), {}
        for step in self.plan:
            if isinstance(step, PoolLayer):
                x = F.max_pool2d(x, step.kernel, 2, step.padding)
            elif isinstance(step, ConvLayer):
                x = out[step.key.removeprefix("own")] = F.relu(self.convolutions[step.key](x))
        return out

    def matrix(self, layer: str) -> Tensor:
        """M (C, c) of the teacher's layer."""
        module = self.matrices[layer]
        assert isinstance(module, nn.Conv2d)
        return module.weight[:, :, 0, 0]

    def mapped(self, layer: str, features: Tensor) -> Tensor:
        """Features (N, c, H, W) in the teacher's space: (N, C, H, W)."""
        made: Tensor = self.matrices[layer](features)
        return made

    def reduced(self, layer: str, features: Tensor) -> Tensor:
        """Features as the file's network gives them: (N, c, H, W), of the same distances as the mapped ones."""
        return F.conv2d(features, self._root(layer).to(features.dtype)[:, :, None, None])

    @torch.no_grad()
    def _root(self, layer: str) -> Tensor:
        root: Tensor = torch.linalg.qr(self.matrix(layer).double(), mode="r").R
        return root

    def mapped_gram(self, layer: str, matrices: Tensor) -> Tensor:
        """Gram matrices (N, c, c) of features as those (N, C, C) of the mapped ones."""
        m = self.matrix(layer).to(matrices.dtype)
        return m @ matrices @ m.T

    @torch.no_grad()
    def tensors(self) -> dict[str, Tensor]:
        """The weights of `own` by their names in its files, in half precision."""
        out: dict[str, Tensor] = {}
        for key in self.convolutions:
            module = self.convolution(key)
            assert module.bias is not None
            out[f"{key}.weight"], out[f"{key}.bias"] = module.weight, module.bias
        for made in OWN_MAPS:
            weight = self.convolution(made.name).weight.double()
            out[f"{made.name}.weight"] = torch.einsum("rk,kcij->rcij", self._root(made.layer), weight)
            out[f"{made.name}.bias"] = torch.zeros(made.outputs)
        return {name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in out.items()}
