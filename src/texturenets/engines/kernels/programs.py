"""The Triton kernels of instance normalization, reflection padding and upsampling.

A feature map lies in memory as (N, positions, channels), positions = H W (channels-last). One program handles a block
of BLOCK_P positions and BLOCK_C channels at a time; for sums the positions of an image are split into `chunks` of
`chunk_size`.
"""

# Triton compiles these functions itself: their arguments have no Python types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def sums(x, out, positions, channels, chunk_size, chunks, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr):
    """Sums of differences from a channel's first value, and of their squares, over a chunk of `chunk_size` positions.

    Not of the values themselves, because a sum of squares loses the digits of a channel that lies far from zero.
    """
    n, chunk = tl.program_id(0), tl.program_id(1)
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = c < channels
    begin = x + n.to(tl.int64) * positions * channels
    pivot = tl.load(begin + c, mask=inside, other=0.0).to(tl.float32)
    total = tl.zeros((BLOCK_C,), tl.float32)
    squares = tl.zeros((BLOCK_C,), tl.float32)
    last = min((chunk + 1) * chunk_size, positions)
    for start in range(chunk * chunk_size, last, BLOCK_P):
        p = start + tl.arange(0, BLOCK_P)
        mask = (p < last)[:, None] & inside[None, :]
        value = tl.load(begin + p.to(tl.int64)[:, None] * channels + c[None, :], mask=mask, other=0.0)
        difference = tl.where(mask, value.to(tl.float32) - pivot[None, :], 0.0)
        total += tl.sum(difference, 0)
        squares += tl.sum(difference * difference, 0)
    place = out + (n * chunks + chunk) * 2 * channels + c
    tl.store(place, total, mask=inside)
    tl.store(place + channels, squares, mask=inside)


@triton.jit
def finish(
    parts, x, mean, scale, positions, channels, chunks, eps, BLOCK_CHUNKS: tl.constexpr, BLOCK_C: tl.constexpr
):
    """Means and 1 / standard deviations from the sums of all chunks."""
    n = tl.program_id(0)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = c < channels
    pivot = tl.load(x + n.to(tl.int64) * positions * channels + c, mask=inside, other=0.0).to(tl.float32)
    k = tl.arange(0, BLOCK_CHUNKS)
    mask = (k < chunks)[:, None] & inside[None, :]
    place = parts + n * chunks * 2 * channels + k[:, None] * 2 * channels + c[None, :]
    first = tl.sum(tl.load(place, mask=mask, other=0.0), 0) / positions
    second = tl.sum(tl.load(place + channels, mask=mask, other=0.0), 0) / positions
    variance = tl.maximum(second - first * first, 0.0)
    tl.store(mean + n * channels + c, pivot + first, mask=inside)
    tl.store(scale + n * channels + c, 1.0 / tl.sqrt(variance + eps), mask=inside)


@triton.jit
def apply(
    x,
    y,
    mean,
    scale,
    weight,
    bias,
    positions,
    channels,
    RELU: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """(x - mean) * scale * weight + bias, and a ReLU."""
    n = tl.program_id(1)
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = c < channels
    s = tl.load(scale + n * channels + c, mask=inside, other=0.0)
    w = tl.load(weight + c, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(bias + c, mask=inside, other=0.0).to(tl.float32)
    m = tl.load(mean + n * channels + c, mask=inside, other=0.0)
    mask = (p < positions)[:, None] & inside[None, :]
    place = n.to(tl.int64) * positions * channels + p.to(tl.int64)[:, None] * channels + c[None, :]
    value = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
    value = (value - m[None, :]) * s[None, :] * w[None, :] + b[None, :]
    if RELU:
        value = tl.maximum(value, 0.0)
    tl.store(y + place, value.to(y.dtype.element_ty), mask=mask)


@triton.jit
def backward_sums(
    x, grad, out, mean, scale, weight, bias, positions, channels, chunk_size, chunks,
    RELU: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Sums of the gradient, and of the gradient times the normalized x, over a chunk of `chunk_size` positions."""
    n, chunk = tl.program_id(0), tl.program_id(1)
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = c < channels
    begin = n.to(tl.int64) * positions * channels
    s = tl.load(scale + n * channels + c, mask=inside, other=0.0)
    w = tl.load(weight + c, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(bias + c, mask=inside, other=0.0).to(tl.float32)
    m = tl.load(mean + n * channels + c, mask=inside, other=0.0)
    total = tl.zeros((BLOCK_C,), tl.float32)
    both = tl.zeros((BLOCK_C,), tl.float32)
    last = min((chunk + 1) * chunk_size, positions)
    for start in range(chunk * chunk_size, last, BLOCK_P):
        p = start + tl.arange(0, BLOCK_P)
        mask = (p < last)[:, None] & inside[None, :]
        place = begin + p.to(tl.int64)[:, None] * channels + c[None, :]
        value = (tl.load(x + place, mask=mask, other=0.0).to(tl.float32) - m[None, :]) * s[None, :]
        g = tl.load(grad + place, mask=mask, other=0.0).to(tl.float32)
        if RELU:
            g = tl.where(value * w[None, :] + b[None, :] > 0, g, 0.0)
        total += tl.sum(g, 0)
        both += tl.sum(tl.where(mask, g * value, 0.0), 0)
    place = out + (n * chunks + chunk) * 2 * channels + c
    tl.store(place, total, mask=inside)
    tl.store(place + channels, both, mask=inside)


@triton.jit
def backward_finish(parts, dw, db, channels, chunks, BLOCK_CHUNKS: tl.constexpr, BLOCK_C: tl.constexpr):
    """The sums of all chunks: each image's share of the gradients of scale and shift."""
    n = tl.program_id(0)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = c < channels
    k = tl.arange(0, BLOCK_CHUNKS)
    mask = (k < chunks)[:, None] & inside[None, :]
    place = parts + n * chunks * 2 * channels + k[:, None] * 2 * channels + c[None, :]
    tl.store(db + n * channels + c, tl.sum(tl.load(place, mask=mask, other=0.0), 0), mask=inside)
    tl.store(dw + n * channels + c, tl.sum(tl.load(place + channels, mask=mask, other=0.0), 0), mask=inside)


@triton.jit
def backward_apply(
    x, grad, dx, mean, scale, weight, bias, dw, db, positions, channels,
    RELU: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """The gradient of the feature map (arXiv 1502.03167, section 3, its three gradients of x put together)."""
    n = tl.program_id(1)
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = c < channels
    s = tl.load(scale + n * channels + c, mask=inside, other=0.0)
    w = tl.load(weight + c, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(bias + c, mask=inside, other=0.0).to(tl.float32)
    m = tl.load(mean + n * channels + c, mask=inside, other=0.0)
    of_both = tl.load(dw + n * channels + c, mask=inside, other=0.0) / positions
    of_grad = tl.load(db + n * channels + c, mask=inside, other=0.0) / positions
    mask = (p < positions)[:, None] & inside[None, :]
    place = n.to(tl.int64) * positions * channels + p.to(tl.int64)[:, None] * channels + c[None, :]
    value = (tl.load(x + place, mask=mask, other=0.0).to(tl.float32) - m[None, :]) * s[None, :]
    g = tl.load(grad + place, mask=mask, other=0.0).to(tl.float32)
    if RELU:
        g = tl.where(value * w[None, :] + b[None, :] > 0, g, 0.0)
    result = (g - of_grad[None, :] - value * of_both[None, :]) * (s * w)[None, :]
    tl.store(dx + place, result.to(dx.dtype.element_ty), mask=mask)


@triton.jit
def reflect(x, y, height, width, channels, amount, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr):
    """A feature map, reflection-padded by `amount` pixels on each side."""
    n = tl.program_id(1)
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    wide = width + 2 * amount
    count = (height + 2 * amount) * wide
    row = tl.abs(p // wide - amount)
    row = height - 1 - tl.abs(height - 1 - row)
    column = tl.abs(p % wide - amount)
    column = width - 1 - tl.abs(width - 1 - column)
    mask = (p < count)[:, None] & (c < channels)[None, :]
    source = n.to(tl.int64) * height * width + row.to(tl.int64) * width + column
    value = tl.load(x + source[:, None] * channels + c[None, :], mask=mask, other=0.0)
    target = n.to(tl.int64) * count + p
    tl.store(y + target[:, None] * channels + c[None, :], value, mask=mask)


@triton.jit
def reflect_backward(grad, dx, height, width, channels, amount, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr):
    """Each pixel's gradient: its own, and those of its images beyond the sides that are near."""
    n = tl.program_id(1)
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    count = height * width
    wide = width + 2 * amount
    inside = p < count
    row, column = p // width, p % width
    total = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    for i in tl.static_range(3):
        # Where this row stands in the enlarged feature map: itself, reflected above, reflected below.
        if i == 0:
            r = row + amount
            near_row = inside
        elif i == 1:
            r = amount - row
            near_row = inside & (row >= 1) & (row <= amount)
        else:
            r = 2 * (height - 1) - row + amount
            near_row = inside & (row <= height - 2) & (row >= height - 1 - amount)
        for j in tl.static_range(3):
            if j == 0:
                q = column + amount
                near = near_row
            elif j == 1:
                q = amount - column
                near = near_row & (column >= 1) & (column <= amount)
            else:
                q = 2 * (width - 1) - column + amount
                near = near_row & (column <= width - 2) & (column >= width - 1 - amount)
            place = n.to(tl.int64) * (height + 2 * amount) * wide + r.to(tl.int64) * wide + q
            mask = near[:, None] & (c < channels)[None, :]
            total += tl.load(grad + place[:, None] * channels + c[None, :], mask=mask, other=0.0).to(
                tl.float32
            )
    target = n.to(tl.int64) * count + p
    mask = inside[:, None] & (c < channels)[None, :]
    tl.store(dx + target[:, None] * channels + c[None, :], total.to(dx.dtype.element_ty), mask=mask)


@triton.jit
def upsample2x(
    x, y, height, width, channels, BILINEAR: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr
):
    """Twice the height and width: each pixel four times, or weighted 3 to 1 with its nearest neighbours."""
    n = tl.program_id(1)
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    count = 4 * height * width
    row, column = p // (2 * width), p % (2 * width)
    mask = (p < count)[:, None] & (c < channels)[None, :]
    begin = x + n.to(tl.int64) * height * width * channels + c[None, :]
    r, q = (row // 2).to(tl.int64), column // 2
    if BILINEAR:
        s = tl.minimum(
            tl.maximum(r + 2 * (row % 2) - 1, 0), height - 1
        )  # the neighbour this pixel is nearer to
        t = tl.minimum(tl.maximum(q + 2 * (column % 2) - 1, 0), width - 1)
        a = tl.load(begin + (r * width + q)[:, None] * channels, mask=mask, other=0.0).to(tl.float32)
        b = tl.load(begin + (r * width + t)[:, None] * channels, mask=mask, other=0.0).to(tl.float32)
        d = tl.load(begin + (s * width + q)[:, None] * channels, mask=mask, other=0.0).to(tl.float32)
        e = tl.load(begin + (s * width + t)[:, None] * channels, mask=mask, other=0.0).to(tl.float32)
        value = 0.75 * (0.75 * a + 0.25 * b) + 0.25 * (0.75 * d + 0.25 * e)
    else:
        value = tl.load(begin + (r * width + q)[:, None] * channels, mask=mask, other=0.0).to(tl.float32)
    target = n.to(tl.int64) * count + p
    tl.store(y + target[:, None] * channels + c[None, :], value.to(y.dtype.element_ty), mask=mask)


@triton.jit
def upsample2x_backward(
    grad, dx, height, width, channels, INNER: tl.constexpr, OUTER: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Each pixel's gradient: of the rows 2 i - 1 to 2 i + 2 and as many columns, as much as it counted there.

    `INNER` and `OUTER` are its weights in rows 2 i and 2 i + 1, and in the two adjacent rows. At the border INNER is
    1: beyond it lies the same pixel once more.
    """
    n = tl.program_id(1)
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    count = height * width
    inside = p < count
    row, column = p // width, p % width
    total = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    begin = grad + n.to(tl.int64) * 4 * count * channels + c[None, :]
    for i in tl.static_range(4):
        r = 2 * row + i - 1
        near_row = inside & (r >= 0) & (r < 2 * height)
        of_row = tl.full((BLOCK_P,), OUTER, tl.float32)
        if i == 1:
            of_row = tl.where(row == 0, 1.0, INNER)
        if i == 2:
            of_row = tl.where(row == height - 1, 1.0, INNER)
        for j in tl.static_range(4):
            q = 2 * column + j - 1
            near = near_row & (q >= 0) & (q < 2 * width)
            share = tl.full((BLOCK_P,), OUTER, tl.float32)
            if j == 1:
                share = tl.where(column == 0, 1.0, INNER)
            if j == 2:
                share = tl.where(column == width - 1, 1.0, INNER)
            mask = near[:, None] & (c < channels)[None, :]
            place = (r.to(tl.int64) * (2 * width) + q)[:, None] * channels
            value = tl.load(begin + place, mask=mask, other=0.0).to(tl.float32)
            total += value * (of_row * share)[:, None]
    target = n.to(tl.int64) * count + p
    mask = inside[:, None] & (c < channels)[None, :]
    tl.store(dx + target[:, None] * channels + c[None, :], total.to(dx.dtype.element_ty), mask=mask)
