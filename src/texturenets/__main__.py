"""The program: `texturenets`, or `python -m texturenets`."""

from __future__ import annotations

import sys

from texturenets.memory.huge_pages import use_large_pages


def main() -> int:
    """Run the command line; returns the exit status."""
    use_large_pages()  # first: what is imported by then is imported twice
    from texturenets import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
