"""The learning rate over a training.

`progress` is the share of the training that is done, from 0 to 1: of its steps, or of its minutes if it has a time
budget. With a budget the rates follow the clock, so that a slow machine also completes its schedule.
"""

from __future__ import annotations

import math

from texturenets.train.configuration import RunConfig


def learning_rate(config: RunConfig, step: int, progress: float) -> float:
    """The rate of `step`, counted from 0; `progress`: before it."""
    if config.schedule == "cosine":
        factor = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))
    elif config.schedule == "step":
        factor = config.decay ** (step // config.decay_every)
    else:
        factor = 1.0
    return config.learning_rate * factor * min(1.0, (step + 1) / max(config.warmup, 1))
