"""Padding, pooling, convolution and normalization as nodes of a graph, by the arguments of PyTorch's functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from torch import Tensor

from texturenets.errors import UserError
from texturenets.networks.trace_values import Recorder, TracedMap, TracedSize, one, two

PADS: Final = {
    "constant": "zero", "zeros": "zero", "reflect": "reflect", "replicate": "replicate", "circular": "circular",
}  # fmt: skip
"""PyTorch's padding modes, and the graph's."""


class LayerCalls:
    """Translates calls of `torch.nn.functional` (padding, pooling, convolution, normalization) into a recorder's
    nodes.

    `take_X` translates PyTorch's function X, with its arguments. Errors are what cannot be traced, as a noun: the
    tracer makes a sentence of them.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.add = recorder.add

    # ---- Padding, sizes and convolutions ----

    def take_pad(
        self, x: TracedMap, pad: Sequence[int], mode: str = "constant", value: float | None = None
    ) -> TracedMap:
        if len(pad) != 4 or value:
            raise UserError("padding of other than height and width, or with other than zeros")
        left, right, top, bottom = pad
        cut = [max(0, -side) for side in (top, bottom, left, right)]
        if any(cut):
            x = self.add("crop", x, amount=cut)
        sides = [max(0, side) for side in (top, bottom, left, right)]
        return self.add("pad", x, amount=sides, mode=PADS.get(mode, mode)) if any(sides) else x

    def take_interpolate(  # noqa: PLR0917 (torch's arguments)
        self, x: TracedMap, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
        align_corners: Any = None, antialias: bool = False,
    ) -> TracedMap:  # fmt: skip
        factor: Any = None if scale_factor is None else one(scale_factor, "factor")
        # `size` is another feature map's height and width, as in interpolate(x, y.shape[2:]), and not numbers.
        if isinstance(size, TracedSize) and not size.whole:
            factor = self.recorder.ratio(size.of_map, x)
        if factor is None or factor != int(factor) or mode not in ("nearest", "bilinear") or antialias:
            raise UserError(f"interpolation {mode!r} to {scale_factor or size}")
        word = "bilinear_corners" if align_corners and mode == "bilinear" else mode
        return self.add("upsample", x, factor=int(factor), mode=word) if factor > 1 else x

    def take_avg_pool2d(  # noqa: PLR0917 (torch's arguments)
        self,
        x: TracedMap,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> TracedMap:
        padded = any(two(padding))
        if ceil_mode or divisor_override or (padded and not count_include_pad):
            raise UserError(
                "an average pooling with ceil_mode, divisor_override or without count_include_pad"
            )
        x = self._padded(x, padding, "zero")
        return self.add("avg_pool", x, kernel=kernel_size, stride=one(stride or kernel_size, "stride"))

    def take_max_pool2d(  # noqa: PLR0917 (torch's arguments)
        self,
        x: TracedMap,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> TracedMap:
        if ceil_mode or return_indices or one(dilation, "dilation") != 1:
            raise UserError("a max pooling with ceil_mode, return_indices or dilation")
        x = self._padded(x, padding, "lowest")
        return self.add("max_pool", x, kernel=kernel_size, stride=one(stride or kernel_size, "stride"))

    def _padded(self, x: TracedMap, padding: Any, mode: str) -> TracedMap:
        rows, columns = two(padding)
        return self.add("pad", x, amount=(rows, rows, columns, columns), mode=mode) if rows or columns else x

    def global_pool(self, x: TracedMap, mode: str, output_size: Any) -> TracedMap:
        """`mode`: average or max."""
        if one(output_size, "size") != 1:
            raise UserError(f"a pooling to {output_size} pixels")
        return self.add("global_pool", x, mode=mode)

    def take_conv2d(  # noqa: PLR0917 (torch's arguments)
        self,
        x: TracedMap,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        mode: str = "zeros",
    ) -> TracedMap:
        """`mode`: nn.Conv2d's padding_mode."""
        out, _, *kernel = weight.shape
        step = one(dilation, "dilation")
        if padding == "same":
            total = [step * (k - 1) for k in kernel]
            sides = [total[0] // 2, total[0] - total[0] // 2, total[1] // 2, total[1] - total[1] // 2]
        else:
            rows, columns = two(0 if padding == "valid" else padding)
            sides = [rows, rows, columns, columns]
        if any(sides):
            x = self.add("pad", x, amount=sides, mode=PADS[mode])
        settings = {"stride": one(stride, "stride"), "dilation": step, "groups": groups}
        return self.add(
            "conv", x, weights={"weight": weight, "bias": bias}, out=out, kernel=kernel, **settings
        )

    def take_conv_transpose2d(  # noqa: PLR0917 (torch's arguments)
        self,
        x: TracedMap,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> TracedMap:
        (top, left), (down, right) = two(padding), two(output_padding)
        if groups != 1 or one(dilation, "dilation") != 1 or down > top or right > left:
            raise UserError("a transposed convolution with groups, dilation, or output_padding above padding")
        _, out, *kernel = weight.shape
        crop = (top, top - down, left, left - right)
        settings = {"stride": one(stride, "stride"), "crop": crop}
        return self.add(
            "deconv", x, weights={"weight": weight, "bias": bias}, out=out, kernel=kernel, **settings
        )

    # ---- Normalization ----

    def take_instance_norm(  # noqa: PLR0917 (torch's arguments)
        self,
        x: TracedMap,
        running_mean: Tensor | None = None,
        running_var: Tensor | None = None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        use_input_stats: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> TracedMap:
        if not use_input_stats:
            return self.take_batch_norm(x, running_mean, running_var, weight, bias, eps=eps)
        return self.add("norm", x, weights={"weight": weight, "bias": bias}, eps=eps)

    def take_group_norm(
        self,
        x: TracedMap,
        num_groups: int,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> TracedMap:
        return self.add("norm", x, weights={"weight": weight, "bias": bias}, eps=eps, groups=num_groups)

    def take_batch_norm(  # noqa: PLR0917 (torch's arguments)
        self,
        x: TracedMap,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> TracedMap:
        if training or running_mean is None:
            raise UserError("a batch normalization by the statistics of the batch")
        known = {"weight": weight, "bias": bias, "mean": running_mean, "var": running_var}
        return self.add("batch_norm", x, weights=known, eps=eps)
