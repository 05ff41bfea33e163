"""What changes over a run: the learning rate, and how much the lattice penalty counts.

`done` is the share of the run that is behind it, from 0 to 1: of its steps, or of its minutes where it has a budget
of time. With a budget the rates follow the clock, so that a slow machine comes to the end of its schedule too.
"""

from __future__ import annotations

import math

from texturenets import runs


def learning_rate(run: runs.Run, step: int, done: float) -> float:
    """The rate of `step`, counted from 0; `done`: before it."""
    if run.schedule == "cosine":
        factor = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))
    elif run.schedule == "step":
        factor = run.decay ** (step // run.decay_every)
    else:
        factor = 1.0
    return run.learning_rate * factor * min(1.0, (step + 1) / max(run.warmup, 1))


def lattice_share(done: float) -> float:
    """How much of the weight of the lattice penalty counts: none in the first half, then rising to all.

    While the picture still changes with every step the penalty's gradient is noise to the other losses. 200 steps of
    the wave with its full weight throughout: validation losses 0.588 (VGG-16), 0.677 (SqueezeNet), 1.465 (content);
    without it 0.475, 0.562, 1.405. After 3000 steps the wave's grids were not above those of the photos; after 1000
    from another style, udnie's were by 4.8 dB on one photo of four.
    """
    return min(1.0, max(0.0, 2 * done - 1))
