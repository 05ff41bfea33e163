"""The program: `texturenets`, or `python -m texturenets`."""

from __future__ import annotations

import atexit
import gc
import os
import sys

from texturenets.memory.huge_pages import use_large_pages


def main() -> int:
    """Run the command line; returns the exit status."""
    use_large_pages()  # first: what is imported by then is imported twice
    # For a quick start. numpy's matrix products are too small here for threads of their own; next to nothing of what
    # is imported is ever freed, so garbage is looked for at every 200,000 objects instead of every 700.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(200_000)
    from texturenets.memory.malloc import prepare_heap

    prepare_heap()
    # OpenVINO imports its converter of models if it can; it is not used here, and takes more than half of
    # the import (`python -X importtime -c "import openvino"`).
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    ended: list[int] = []
    atexit.register(_leave, ended)  # registered before all others, to be called after them
    try:
        from texturenets import cli
    except KeyboardInterrupt:  # later ones are handled by the command line
        print("texturenets: interrupted", file=sys.stderr)
        return 130

    ended.append(cli.main())
    return ended[0]


def _leave(ended: list[int]) -> None:
    """Exit at once after success or an error that was reported. The usual shutdown of Python and the libraries takes
    a seventh of the time of a small photo.
    """
    if ended:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):  # reported before, or closed
                continue
        os._exit(ended[0])


if __name__ == "__main__":
    sys.exit(main())
