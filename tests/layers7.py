"""Torch7 networks evaluated module by module, on what the `torchfile` package reads: nothing of ours is in it.

After the Lua sources of torch/nn and of the first version of texture_nets. Batch normalization takes the statistics
of what it is fed with, where `own` says so, as networks do that never left training mode; else those that it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torchfile
from torch import Tensor


def load(path: Path) -> Any:
    """The value in a binary `.t7` file with longs of 64 bits."""
    return torchfile.load(str(path))


def _name(module: Any) -> str:
    return bytes(module._typename).decode().rpartition(".")[2]


def _get(module: Any, key: str, default: Any = None) -> Any:
    value = module._obj.get(key.encode()) if module._obj else None
    return default if value is None else value


class Network:
    """Calls `tree` on an image; `noises` are given out in the order in which the modules ask for them.

    `own`: see above.
    """

    def __init__(self, tree: Any, noises: Iterator[Tensor] | None = None, own: bool = False) -> None:
        self.tree, self.noises, self.own = tree, noises, own

    def __call__(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.module(self.tree, x.double())  # type: ignore[no-any-return]

    def module(self, m: Any, x: Any) -> Any:  # noqa: PLR0911, PLR0912
        name = _name(m)
        children = _get(m, "modules", [])
        match name:
            case "Sequential":
                for child in children:
                    x = self.module(child, x)
                return x
            case "Concat":
                return torch.cat([self.module(child, x) for child in children], 1)
            case "ConcatTable":
                return [self.module(child, x) for child in children]
            case "CAddTable":
                return x[0] + x[1]
            case "Identity" | "TVLoss" | "TotalVariation":
                return x
            case "ReLU":
                return x.clamp(min=0)
            case "LeakyReLU":
                return torch.where(x > 0, x, x * _get(m, "negval", 0.01))
            case "Tanh":
                return x.tanh()
            case "MulConstant":
                return x * _get(m, "constant_scalar")
            case "ShaveImage":
                size = int(_get(m, "size"))
                return x[:, :, size:-size, size:-size]
            case "SpatialUpSamplingNearest":
                factor = int(_get(m, "scale_factor"))
                return x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
            case "SpatialAveragePooling":
                k = int(_get(m, "kW"))
                n, c, h, w = x.shape
                return x.reshape(n, c, h // k, k, w // k, k).mean((3, 5))
            case "GenNoise" | "NoiseFill":
                assert self.noises is not None
                made = next(self.noises).double()
                return torch.cat([x[:, : x.shape[1] - made.shape[1]], made], 1)
            case "SpatialConvolution":
                weight, bias = self._weights(m)
                return F.conv2d(x, weight, bias, int(_get(m, "dW")), int(_get(m, "padW", 0)))
            case "SpatialFullConvolution":
                weight, bias = self._weights(m)
                padding, more = int(_get(m, "padW", 0)), int(_get(m, "adjW", 0))
                return F.conv_transpose2d(x, weight, bias, int(_get(m, "dW")), padding, more)
            case "SpatialBatchNormalization" | "InstanceNormalization":
                return self._normalized(m, x, name)
        return self._padded(x, int(_get(m, "pad_l")), name)

    def _weights(self, m: Any) -> tuple[Tensor, Tensor]:
        weight, bias = _get(m, "weight"), _get(m, "bias")
        return torch.tensor(np.array(weight)).double(), torch.tensor(np.array(bias)).double()

    def _normalized(self, m: Any, x: Tensor, name: str) -> Tensor:
        channels = x.shape[1]
        # What a kernel does that trusts `channels`: on behind the tensor's end, in the storage that it lies in.
        weight, bias = (
            torch.tensor(np.lib.stride_tricks.as_strided(_get(m, key), (channels,), (4,)).copy()).double()
            for key in ("weight", "bias")
        )
        if self.own or name == "InstanceNormalization":
            mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, unbiased=False)
            x = (x - mean) / (variance + _get(m, "eps")).sqrt()
        else:
            mean = torch.tensor(np.array(_get(m, "running_mean"))).double()[:, None, None]
            inverse = _get(m, "running_std")
            if inverse is None:
                inverse = (np.array(_get(m, "running_var")) + _get(m, "eps")) ** -0.5
            x = (x - mean) * torch.tensor(np.array(inverse)).double()[:, None, None]
        return x * weight[:, None, None] + bias[:, None, None]

    @staticmethod
    def _padded(x: Tensor, amount: int, name: str) -> Tensor:
        rows = np.arange(-amount, x.shape[2] + amount)
        columns = np.arange(-amount, x.shape[3] + amount)
        found = []
        for index, size in ((rows, x.shape[2]), (columns, x.shape[3])):
            places = {
                "SpatialCircularPadding": index % size,
                "SpatialReplicationPadding": index.clip(0, size - 1),
                "SpatialReflectionPadding": size - 1 - np.abs(size - 1 - np.abs(index)),
            }
            found.append(torch.tensor(places[name]))
        return x[:, :, found[0]][:, :, :, found[1]]
