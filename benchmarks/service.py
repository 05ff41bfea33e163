"""A service in its own process, for the programs that measure one: started, asked, watched and stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image


@dataclass
class Running:
    """A service: its address and process."""

    address: str
    process: subprocess.Popen[str]

    @property
    def host(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self.address.removeprefix("http://").split(":")
        return host, int(port)

    def resident(self) -> int:
        """Bytes of memory that it holds (Linux)."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def service(
    log: Path, *options: str, prefix: tuple[str, ...] = (), environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """`texturenets serve` with `options` at a free port, its log in a file. `prefix`: words that start it."""
    words = [*prefix, sys.executable, "-m", "texturenets", "serve", "--port", "0", *options]
    with log.open("w") as errors:
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, **(environment or {})}
        )
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            if not address:
                sys.exit(f"the service did not start: {log.read_text()}")
            yield Running(address, process)
        finally:
            process.terminate()
            process.wait(120)  # a training at work saves first


def photos(folder: Path, count: int = 12) -> list[Path]:
    """Photos of mixed sizes and formats, made of those that come with the package."""
    made = []
    for i in range(count):
        photo = Image.open(
            Path(__file__).parents[1] / f"src/texturenets/photos/{('astronaut', 'coffee', 'cat')[i % 3]}.jpg"
        )
        side = 200 + 37 * i
        photo = photo.resize((side, side * 3 // 4 + i), Image.Resampling.LANCZOS)
        path = folder / f"photo{i:02d}{('.jpg', '.png')[i % 2]}"
        photo.save(path)
        made.append(path)
    return made
