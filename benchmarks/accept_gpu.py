"""An image of SIZE x SIZE on a GPU of which LIMIT GB may be used, against the whole image at once.

    accept_gpu.py [--size 8192] [--limit 8] [--style wave] [--precision float32]

PyTorch is held to LIMIT GB, so that a byte more ends the run; the whole image is stylized before that, where the
GPU has the memory. Printed are the time, the peak and the largest difference in 255ths (at most 1 in float32).
Without a GPU: not measured.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch

import texturenets as tn
from texturenets.errors import UserError

SPARE = 0.5  # GB for what libraries take beside the maps


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--limit", type=float, default=8.0)
    parser.add_argument("--style", default="wave")
    parser.add_argument("--precision", choices=["float32", "fp16"], default="float32")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU here: not measured")
        return 0
    random = np.random.default_rng(0)
    photo = random.random((options.size // 8, options.size // 8, 3), np.float32)
    photo = np.kron(photo, np.ones((8, 8, 1), np.float32))
    gpu = torch.cuda.get_device_properties(0)
    try:
        large = f"{0.9 * gpu.total_memory / 2**30:.1f}G"
        whole = tn.load(options.style, "cuda", precision=options.precision, memory=large)(photo)
    except UserError as error:
        print(f"the whole image: {error}")
        whole = None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.set_per_process_memory_fraction(options.limit * 2**30 / gpu.total_memory)
    style = tn.load(options.style, "cuda", precision=options.precision, memory=f"{options.limit - SPARE}G")
    start = time.perf_counter()
    stylized = style(photo)
    taken, peak = time.perf_counter() - start, torch.cuda.max_memory_reserved() / 2**30
    print(
        f"{gpu.name}: {options.size} x {options.size} in {taken:.1f} s, peak {peak:.2f} of {options.limit} GB"
    )
    if whole is None:
        return 0
    difference = 255 * float(np.abs(np.asarray(stylized) - np.asarray(whole)).max())
    print(f"largest difference from the whole image {difference:.2f} of 255")
    return 0 if options.precision != "float32" or difference <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
