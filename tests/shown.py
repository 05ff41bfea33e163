"""The two pages for a browser: the service's, in a thread of this process, and the static one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fileserver import serving
from webservice import model

from texturenets.engines.options import EngineOptions
from texturenets.export import onnxruntime_web, static_page
from texturenets.files import cache_folder

PACKAGE = (
    cache_folder() / "npm" / f"{onnxruntime_web.PACKAGE}-{onnxruntime_web.VERSION}.tgz"
)  # before the tests have their own
needs_package = pytest.mark.skipif(
    not PACKAGE.is_file(),
    reason=f"{PACKAGE} is not here: `npm pack {onnxruntime_web.PACKAGE}@{onnxruntime_web.VERSION}` in that folder "
    "fetches it",
)


class ServiceThread:
    """A service with tiny models in a thread of this process."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        import uvicorn

        from texturenets.server import app
        from texturenets.server.server import Server
        from texturenets.server.settings import Settings

        made, _ = app.create(Settings(models=folder, engine=EngineOptions("torch", "cpu"), **settings))
        self.server = Server(uvicorn.Config(made, port=0, log_level="error", ws="none"))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        ends = time.monotonic() + 60
        while not self.server.started:
            assert time.monotonic() < ends
            time.sleep(0.02)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"

    def files(self) -> list[Path]:
        """What visitors have uploaded, and what was made of it."""
        from texturenets.server.ui import store

        return [path for path in (store.folder() / "files").rglob("*") if path.is_file()]

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()


def slow_previews(monkeypatch: pytest.MonkeyPatch) -> None:
    """Previews of uploads are late: visitors are faster than a busy service."""
    from texturenets.server.ui.pictures import PictureInput

    make_preview = PictureInput._read

    async def slow(*given: Any) -> str:
        await asyncio.sleep(1)
        return await make_preview(*given)

    monkeypatch.setattr(PictureInput, "_read", slow)


def two_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a style and a texture."""
    made = tmp_path_factory.mktemp("models")
    model(made, "aaa_tiny")
    model(made, "aab_grain", "texture")
    return made


@contextmanager
def static(models: Sequence[Path], folder: Path) -> Iterator[str]:
    """The address of a plain file server with the static page of `models`, written into `folder`."""
    static_page.write(models, folder, PACKAGE)

    with serving(folder) as address:
        yield address
