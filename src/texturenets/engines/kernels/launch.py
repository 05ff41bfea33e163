"""The kernels of `programs` on tensors (N, C, H, W), channels-last: results, grids and blocks."""

from __future__ import annotations

import torch
from torch import Tensor

from texturenets.engines.kernels import programs

BLOCK_ELEMENTS = (
    4096  # elements of a block: 32 for each of 128 threads, which load that many bytes most efficiently
)
PROGRAMS = (
    512  # programs that sum up a feature map: several for each of the 132 multiprocessors of a large GPU
)


def _blocks(channels: int) -> tuple[int, int, int]:
    """Positions and channels of a block, powers of two, and how many blocks the channels make."""
    c = min(64, 1 << (channels - 1).bit_length())
    return BLOCK_ELEMENTS // c, c, -(-channels // c)


def _chunks(n: int, positions: int, p: int, blocks: int) -> tuple[int, int]:
    """Positions that each Triton program sums, a multiple of p, and the number of programs for one image."""
    each = max(1, PROGRAMS // (n * blocks))
    chunk_size = -(-positions // each)
    chunk_size = -(-chunk_size // p) * p
    return chunk_size, -(-positions // chunk_size)


def _power(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()


def moments(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and 1 / sqrt(variance + eps) of each channel: (N, C) both, float32."""
    n, channels, height, width = x.shape
    positions = height * width
    p, c, blocks = _blocks(channels)
    chunk_size, chunks = _chunks(n, positions, p, blocks)
    parts = x.new_empty((n, chunks, 2, channels), dtype=torch.float32)
    mean, scale = (x.new_empty((n, channels), dtype=torch.float32) for _ in range(2))
    programs.sums[n, chunks, blocks](x, parts, positions, channels, chunk_size, chunks, BLOCK_P=p, BLOCK_C=c)
    few = min(c, 16)
    grid = n, -(-channels // few)
    programs.finish[grid](
        parts, x, mean, scale, positions, channels, chunks, eps, BLOCK_CHUNKS=_power(chunks), BLOCK_C=few
    )
    return mean, scale


def normalized(x: Tensor, mean: Tensor, scale: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
    """`x` normalized, as `kernels.instance_norm`."""
    n, channels, height, width = x.shape
    p, c, blocks = _blocks(channels)
    y = torch.empty_like(x)
    grid = -(-height * width // p), n, blocks
    programs.apply[grid](
        x, y, mean, scale, weight, bias, height * width, channels, RELU=relu, BLOCK_P=p, BLOCK_C=c
    )
    return y


def normalized_backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, scale: Tensor, relu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the feature map, and each image's of scale and shift: (N, C), float32."""
    n, channels, height, width = x.shape
    positions = height * width
    p, c, blocks = _blocks(channels)
    chunk_size, chunks = _chunks(n, positions, p, blocks)
    parts = x.new_empty((n, chunks, 2, channels), dtype=torch.float32)
    dw, db = (x.new_empty((n, channels), dtype=torch.float32) for _ in range(2))
    programs.backward_sums[n, chunks, blocks](
        x,
        grad,
        parts,
        mean,
        scale,
        weight,
        bias,
        positions,
        channels,
        chunk_size,
        chunks,
        RELU=relu,
        BLOCK_P=p,
        BLOCK_C=c,
    )
    few = min(c, 16)
    programs.backward_finish[n, -(-channels // few)](
        parts, dw, db, channels, chunks, BLOCK_CHUNKS=_power(chunks), BLOCK_C=few
    )
    dx = torch.empty_like(x)
    grid = -(-positions // p), n, blocks
    programs.backward_apply[grid](
        x, grad, dx, mean, scale, weight, bias, dw, db, positions, channels, RELU=relu, BLOCK_P=p, BLOCK_C=c
    )
    return dx, dw, db


def reflected(x: Tensor, amount: int) -> Tensor:
    """As `kernels.reflect`."""
    n, channels, height, width = x.shape
    p, c, blocks = _blocks(channels)
    y = _map(x, height + 2 * amount, width + 2 * amount)
    grid = -(-y.shape[2] * y.shape[3] // p), n, blocks
    programs.reflect[grid](x, y, height, width, channels, amount, BLOCK_P=p, BLOCK_C=c)
    return y


def reflected_backward(grad: Tensor, amount: int) -> Tensor:
    """The gradient of what was reflected."""
    n, channels, height, width = grad.shape
    height, width = height - 2 * amount, width - 2 * amount
    p, c, blocks = _blocks(channels)
    dx = _map(grad, height, width)
    grid = -(-height * width // p), n, blocks
    programs.reflect_backward[grid](grad, dx, height, width, channels, amount, BLOCK_P=p, BLOCK_C=c)
    return dx


def upsampled2x(x: Tensor, bilinear: bool) -> Tensor:
    """As `kernels.upsample2x`."""
    n, channels, height, width = x.shape
    p, c, blocks = _blocks(channels)
    y = _map(x, 2 * height, 2 * width)
    grid = -(-4 * height * width // p), n, blocks
    programs.upsample2x[grid](x, y, height, width, channels, BILINEAR=bilinear, BLOCK_P=p, BLOCK_C=c)
    return y


def upsampled2x_backward(grad: Tensor, bilinear: bool) -> Tensor:
    """The gradient of what was upsampled."""
    n, channels, height, width = grad.shape
    height, width = height // 2, width // 2
    p, c, blocks = _blocks(channels)
    dx = _map(grad, height, width)
    grid = -(-height * width // p), n, blocks
    inner, outer = (0.75, 0.25) if bilinear else (1.0, 0.0)
    programs.upsample2x_backward[grid](
        grad, dx, height, width, channels, INNER=inner, OUTER=outer, BLOCK_P=p, BLOCK_C=c
    )
    return dx


def _map(like: Tensor, height: int, width: int) -> Tensor:
    """An empty tensor like `like`, of another height and width."""
    shape = (*like.shape[:2], height, width)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)
