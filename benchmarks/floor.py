"""How fast a network could be on this machine: rates that are measured, work that is counted.

The floor is the larger of two times: its multiplications and additions at the best rate of a fixed list of matrix
products in that precision; and its bytes at the rate of a copy, where each convolution and normalization reads its
input and its weights once and writes its output once. ReLU, padding and interpolation count nothing.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

# (rows, inner, columns): the convolutions of johnson at 512 x 512 as matrix products, and larger ones
PRODUCTS = ((16384, 1152, 128), (65536, 576, 64), (4096, 4096, 4096), (2048, 2048, 2048))
COPIED = 256 * 2**20  # bytes, beyond any cache but the largest
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def seconds(action: Callable[[], Any], runs: int = 5, device: str = "cpu") -> float:
    """The shortest of `runs` runs after one that does not count."""
    found = []
    for _ in range(runs + 1):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        action()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return min(found[1:])


@dataclass(frozen=True)
class Rates:
    """Operations a second by precision, and bytes read or written a second."""

    operations: dict[str, float]
    bytes: float


@torch.inference_mode()
def measure(precisions: tuple[str, ...] = ("float32", "bf16"), device: str = "cpu") -> Rates:
    """The rates of this machine, now."""
    rates = {}
    for precision in precisions:
        best = 0.0
        for rows, inner, columns in PRODUCTS:
            a = torch.rand(rows, inner, device=device).to(DTYPES[precision])
            b = torch.rand(inner, columns, device=device).to(DTYPES[precision])
            time_taken = seconds(lambda a=a, b=b: a @ b, device=device)
            best = max(best, 2 * rows * inner * columns / time_taken)
        rates[precision] = best
    source = torch.zeros(COPIED // 4, device=device)
    target = torch.empty_like(source)
    return Rates(rates, 2 * COPIED / seconds(lambda: target.copy_(source), device=device))


@dataclass(frozen=True)
class Work:
    """Of one pass: multiplications and additions, and numbers read or written."""

    operations: int
    numbers: int

    def floor(self, rates: Rates, precision: str) -> float:
        """Seconds."""
        width = DTYPES[precision].itemsize
        return max(self.operations / rates.operations[precision], width * self.numbers / rates.bytes)


def work(network: nn.Module, *inputs: Any) -> Work:
    """What `network` does with `inputs`, by its layers; nothing is computed, it runs without data."""
    operations = numbers = 0

    def count(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal operations, numbers
        weights = sum(p.numel() for p in module.parameters())
        numbers += given[0].numel() + output.numel() + weights
        if isinstance(module, nn.Conv2d):
            operations += 2 * output[:, 0].numel() * module.weight.numel()
        elif isinstance(module, nn.ConvTranspose2d):
            operations += 2 * given[0][:, 0].numel() * module.weight.numel()

    shadow = copy.deepcopy(network).to("meta")
    for module in shadow.modules():
        if not list(module.children()) and list(module.parameters()):
            module.register_forward_hook(count)
    with torch.no_grad():
        shadow(*tree_map(lambda x: x.to("meta") if isinstance(x, Tensor) else x, inputs))
    return Work(operations, numbers)
