"""Weights for convolutions that compute a block of 2 x 2 outputs at one position, each in separate channels.

Each function here makes such weights from those of an ordinary convolution: zeros, copies and sums of them, so the
outputs are the same; `shuffle` (depth to space, `torch.nn.PixelShuffle`) then puts the channels of a
position side by side. In one dimension, where a block is a pair, with the weights a b c:

`block_output_weights`, where there are few output channels. Two neighbouring outputs look at four pixels, so a
convolution with a window of 4 and a stride of 2 makes both; the next position begins at x2:

        x0  x1  x2  x3
    y0   a   b   c   0      channel 0
    y1   0   a   b   c      channel 1

`upsample_folded_weights`, where the input has been upsampled by 2 with mode "nearest", the pixels p q r to
p p q q r r. An output sees only two different pixels of the low resolution, so two weights fall on the same one and
are added:

              p  p  q  q  r  r
    y1 =      a  b  c               (a + b) p +       c q      channel 0
    y2 =         a  b  c                  a p + (b + c) q      channel 1
    y3 =            a  b  c         (a + b) q +       c r      channel 0, next position
    y4 =               a  b  c            a q + (b + c) r      channel 1, next position

A window of 2 at the low resolution therefore makes the pair y1 y2 at p q, and y3 y4 at q r. These pairs begin at an
odd output. So the low resolution is padded by 1: its first window makes y(-1) and y0, its last one y5 and y6. The
outermost, y(-1) and y6, are no outputs of the upsampled feature map and are cropped.

`block_input_weights`, where another part of the same input has not been upsampled, x0 x1 x2 x3. To be added to pairs
as above it takes the same form: `unshuffle` (space to depth) makes channels of x0 x1 at one position and of x2 x3 at
the next, and a window of 2 positions is four pixels:

        x0  x1 | x2  x3
    y1   a   b |  c   0     channel 0
    y2   0   a |  b   c     channel 1

In two dimensions the same is done to rows and to columns, and a block has four positions. Channels here are counted
(position in the block, channel), as `shuffle` and `unshuffle` have it with order=DCR; PyTorch's count (channel,
position in the block). Weights are (outputs, inputs, rows, columns). `engines.space_to_depth_conv` does the same in
PyTorch and says why it is faster.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

FEW_CHANNELS: Final = 4
"""With at most this many channels a convolution leaves most of a SIMD vector of 16 unused."""


def block_output_weights(weight: Array) -> Array:
    """(O, I, h, w) to (4 O, I, h + 1, w + 1), for a stride of 2."""
    outputs, inputs, height, width = weight.shape
    wide = np.zeros((2, 2, outputs, inputs, height + 1, width + 1), np.float32)
    for down in (0, 1):
        for right in (0, 1):
            wide[down, right, :, :, down : down + height, right : right + width] = weight
    return wide.reshape(4 * outputs, inputs, height + 1, width + 1)


def upsample_folded_weights(weight: Array) -> Array:
    """(O, I, 3, 3) to (4 O, I, 2, 2), for the feature map before it is upsampled, padded by 1: (H + 2, W + 2).

    They make (H + 1) x (W + 1) blocks, whose outermost rows and columns of outputs must be cropped.
    """
    return np.concatenate([_pair(_pair(weight, 2, down), 3, right) for down in (0, 1) for right in (0, 1)])


def _pair(weight: Array, axis: int, position: int) -> Array:
    """Three weights (a, b, c) along `axis` to (a + b, c) for the first of a pair, (a, b + c) for the second."""
    a, b, c = np.moveaxis(weight, axis, 0)
    return np.stack([a + b, c] if position == 0 else [a, b + c], axis)


def block_input_weights(weight: Array) -> Array:
    """(O, I, 3, 3) to (4 O, 4 I, 2, 2), for a feature map after `unshuffle`."""
    outputs, inputs = weight.shape[:2]
    # (row, column in the output's block; outputs; row, column in the input's block; inputs; block row, block column)
    blocks = np.zeros((2, 2, outputs, 2, 2, inputs, 2, 2), np.float32)
    for down in (0, 1):
        for right in (0, 1):
            # Over the four by four pixels of the window, as in the drawing
            wide = np.zeros((outputs, inputs, 4, 4), np.float32)
            wide[:, :, down : down + 3, right : right + 3] = weight
            # (out, in, block row, row in block, block column, column in block)
            by_block = wide.reshape(outputs, inputs, 2, 2, 2, 2)
            blocks[down, right] = by_block.transpose(0, 3, 5, 1, 2, 4)
    return blocks.reshape(4 * outputs, 4 * inputs, 2, 2)
