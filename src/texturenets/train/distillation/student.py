"""The network `own` in training: its convolutions, and for each of its features a linear map to the teacher's.

The map M (C, c) takes c channels to the C of VGG-16's layer. With it, Gram matrices and distances should be those of
VGG-16, but multiplying by M costs more than many convolutions. With M = Q R, Q of orthonormal columns, R f has the
same distances as M f, and R (c, c) is small: the file contains R instead of M.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.perceptual.architectures import PLANS, ConvLayer, LinearMap, PoolLayer
from texturenets.perceptual.preprocessing import Preprocessing
from texturenets.perceptual.weights import CONVENTIONS
from texturenets.readers.layouts import LAYERS, OWN_MAPS

TEACHER = "vgg16"
NETWORK = "own"
TEACHER_WIDTHS = {layer.output: layer.shape[0] for layer in LAYERS[TEACHER]}


class Student(nn.Module):
    """Images (N, 3, H, W), RGB in [0, 1], to {"1_2": features (N, c, H, W), ...}, which `mapped` makes VGG-16's."""

    def __init__(self) -> None:
        super().__init__()
        self.plan = PLANS[NETWORK]
        self.convolutions, self.maps = nn.ModuleDict(), nn.ModuleDict()
        for layer in LAYERS[NETWORK]:
            outputs, inputs, size, _ = layer.shape
            if layer.key.startswith("map"):
                name = layer.key.removeprefix("map")
                self.maps[layer.key] = nn.Conv2d(inputs, TEACHER_WIDTHS[f"relu{name}"], 1, bias=False)
            else:
                self.convolutions[layer.key] = nn.Conv2d(inputs, outputs, size, padding=size // 2)
        self.preprocess = Preprocessing(CONVENTIONS[NETWORK])

    def convolution(self, key: str) -> nn.Conv2d:
        """The convolution of that name in the files."""
        module = (self.maps if key in self.maps else self.convolutions)[key]
        assert isinstance(module, nn.Conv2d)
        return module

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The features that have a linear map, in the order of evaluation."""
        x, out = self.preprocess(x), {}
        for step in self.plan:
            if isinstance(step, PoolLayer):
                x = F.max_pool2d(x, step.kernel, 2, step.padding)
            elif isinstance(step, ConvLayer):
                x = F.relu(self.convolutions[step.key](x))
            elif isinstance(step, LinearMap):
                out[step.key.removeprefix("map")] = x
        return out

    def matrix(self, name: str) -> Tensor:
        """M (C, c) of the feature `name`."""
        return self.convolution(f"map{name}").weight[:, :, 0, 0]

    def mapped(self, name: str, features: Tensor) -> Tensor:
        """Features (N, c, H, W) in the teacher's space: (N, C, H, W)."""
        made: Tensor = self.maps[f"map{name}"](features)
        return made

    def reduced(self, name: str, features: Tensor) -> Tensor:
        """Features as the file's network gives them: (N, c, H, W), of the same distances as the mapped ones."""
        return F.conv2d(features, self._root(name).to(features.dtype)[:, :, None, None])

    @torch.no_grad()
    def _root(self, name: str) -> Tensor:
        root: Tensor = torch.linalg.qr(self.matrix(name).double(), mode="r").R
        return root

    def mapped_gram(self, name: str, matrices: Tensor) -> Tensor:
        """Gram matrices (N, c, c) of features as those (N, C, C) of the mapped ones."""
        m = self.matrix(name).to(matrices.dtype)
        return m @ matrices @ m.T

    @torch.no_grad()
    def tensors(self) -> dict[str, Tensor]:
        """The weights of `own` by their names in its files, in half precision."""
        out: dict[str, Tensor] = {}
        for key in self.convolutions:
            module = self.convolution(key)
            assert module.bias is not None
            out[f"{key}.weight"], out[f"{key}.bias"] = module.weight, module.bias
        for name in OWN_MAPS:
            root = self._root(name)
            out[f"map{name}.weight"], out[f"map{name}.bias"] = root[:, :, None, None], torch.zeros(len(root))
        return {name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in out.items()}
