"""A program run by `exr.read`: converts an EXR file to a NumPy file.

exr_child.py IN.exr OUT.npy PIXELS
"""

from __future__ import annotations

import sys
from typing import NoReturn

REFUSED = 3
"""The exit status if the last line on stderr says what is wrong with the file."""


def refuse(reason: str) -> NoReturn:
    print(f"\n{reason}", file=sys.stderr)
    raise SystemExit(REFUSED)


def main(source: str, target: str, limit: int) -> None:
    """Write the pixels (H, W, channels) of `source` to `target`; refuse more than `limit`."""
    import numpy as np
    import OpenEXR

    with OpenEXR.File(source, header_only=True) as file:
        low, high = file.header()["dataWindow"]
    width, height = (int(high[i]) - int(low[i]) + 1 for i in (0, 1))
    if width * height > limit:
        refuse(f"it has {width} x {height} pixels, over the limit of {limit}")
    with OpenEXR.File(source) as file:
        channels = file.channels()
        name = next((name for name in ("RGBA", "RGB", "Y") if name in channels), None)
        if name is None:
            refuse(f"its channels are {', '.join(sorted(channels))}, not RGB, RGBA or Y")
        pixels = channels[name].pixels
    if pixels.dtype.kind != "f" or pixels.shape[:2] != (height, width):
        refuse("its channels are not floats of one size")
    np.save(target, pixels if pixels.ndim == 3 else pixels[..., None])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
