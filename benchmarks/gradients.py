"""Writes the gradient of the last step of a run: gradients.py OUT.safetensors train style IMAGE --content ...

Under `torchrun` it is the gradient that all processes agree on. No bar by itself: accept_resume.py and the
tests compare one process with two.
"""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors.torch import save_file

from texturenets.cli import main, train
from texturenets.train.trainer import Trainer


def run(out: Path, words: list[str]) -> int:
    """The command line `words`, its last gradients written to `out` by the first process."""

    def follow(trainer: Trainer, _: bool) -> int:
        for _record in trainer:
            pass
        if trainer.fabric.is_global_zero:
            gradients = {
                k: p.grad.contiguous() for k, p in trainer.network.named_parameters() if p.grad is not None
            }
            save_file(gradients, out)
        return 0

    train.follow = follow  # type: ignore[assignment]
    return main(words)


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
