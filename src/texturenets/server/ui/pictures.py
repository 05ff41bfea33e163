"""The input for images: uploads by drop, paste or camera, with previews made by the server.

Browsers display fewer formats than are read here (HEIC, TIFF are missing) and report wrong files in their own words.
So the preview is a small JPEG made here; the uploaded file itself is what is stylized.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from texturenets import image
from texturenets.errors import UserError
from texturenets.server.http_errors import HTTPProblem, refused
from texturenets.server.service import Service
from texturenets.server.ui.store import Store
from texturenets.server.ui.texts import error_html, sentence

SHOWN = 800
"""Longer side of a preview in pixels."""

Uploads = tuple[tuple[str, str], ...]
"""For each uploaded image: path of its preview, path of the uploaded file."""


class PictureInput:
    """Builds the upload component within a gradio.Blocks. `uploads`, a gradio.State, holds its images, as `Uploads`.

    `refused`, another State, holds messages about the files refused in the last upload.
    """

    def __init__(
        self, service: Service, store: Store, what: str, most: int, *, label: str, height: int
    ) -> None:
        """`what`: its name in the page and in the store. `most`: maximum number of images; if 1, the newest is
        kept."""
        self.service, self.store, self.what, self.most = service, store, what, most
        self.uploads = gr.State(())
        self.refused = gr.State(())
        self.gallery = gr.Gallery(
            label=label,
            show_label=False,
            type="filepath",
            file_types=["image", *sorted(image.suffixes())],
            sources=["upload", "clipboard", "webcam"],
            columns=1,
            height=height,
            object_fit="contain",
            interactive=True,
            buttons=[],
            elem_id=what,
            elem_classes="pictures",
        )

    def listen(self, message: Any) -> None:
        """Connect the component: without this call, once, uploads are not read. Messages about refused files appear
        in the component `message`.
        """
        outputs = [self.gallery, self.uploads, self.refused, message]
        # In the browser, not with the previews: by then the message may be about what the visitor did meanwhile.
        self.gallery.upload(None, None, message, js="() => ''")
        given = [self.gallery, self.uploads, self.refused]
        self.gallery.change(self._changed, given, outputs, show_progress="hidden")

    def example(self, path: Path, request: gr.Request) -> tuple[Any, Uploads]:
        """New values of `gallery` and `uploads` when an example image is chosen."""
        self.store.replace(request.session_hash or "", self.what, [])
        return self._shown([str(path)]), ((str(path), str(path)),)

    @staticmethod
    def newest(shown: list[tuple[str, Any]], uploads: Uploads) -> Path:
        """The last uploaded file. `shown`: the value of `gallery`, not empty; `uploads`: that of the State.

        An upload is shown before its preview is made; until then the gallery holds the uploaded file itself.
        """
        path = shown[-1][0]
        return Path(dict(uploads).get(path, path))

    def _shown(self, paths: Sequence[str]) -> Any:
        return gr.update(value=list(paths), columns=3 if len(paths) > 1 else 1, selected_index=None)

    async def _changed(
        self,
        value: list[tuple[str, Any]] | None,
        before: Uploads,
        refused_before: tuple[str, ...],
        request: gr.Request,
    ) -> tuple[Any, ...]:
        """Images were added or removed: new values of `gallery`, `uploads`, `refused` and the message."""
        paths = [path for path, _ in value or []]
        known = dict(before)
        held: list[tuple[str, str]] = []
        refused = []
        for path in paths:
            if path in known:
                held.append((path, known[path]))
                continue
            if self.most > 1 and len(held) == self.most:
                refused.append(f"At most {self.most} images at once: these are the first.")
                break
            try:
                held.append((await self._read(Path(path)), path))
            except HTTPProblem as problem:
                refused.append(sentence(problem, Path(path).name))
        held = held[-self.most :]
        now = tuple(held)
        if now != before:
            files = [Path(one) for pair in now for one in pair]
            stored = [path for path in files if path.is_relative_to(self.store.folder)]
            self.store.replace(request.session_hash or "", self.what, stored)
        shown = [one for one, _ in now]
        if (
            refused
        ):  # the browser still shows the refused files: delete them at the next change, or with the session
            session = request.session_hash or ""
            gone = [Path(path) for path in paths if path not in {one for pair in now for one in pair}]
            self.store.replace(session, f"{self.what} refused", gone)
        changed = now != before or bool(refused)
        return (
            gr.skip() if shown == paths else self._shown(shown),
            gr.skip() if now == before else now,
            tuple(refused) if changed else gr.skip(),
            # A pasted image, or one of the camera, is no upload to Gradio: here it ends what was said of bad files.
            error_html(*refused) if refused or (changed and refused_before) else gr.skip(),
        )

    async def _read(self, path: Path) -> str:
        """Make the preview of the file at `path`; returns its path. Raises HTTPProblem."""
        service = self.service

        def small() -> str:
            picture = image.from_bytes(data, path.name, longer=min(SHOWN, max(shape)))
            made = image.to_bytes(Path("shown.jpg"), picture, quality=88)
            shown = path.parent / "shown" / f"{path.stem}.jpg"
            shown.parent.mkdir(exist_ok=True)
            shown.write_bytes(made)
            return str(shown)

        try:
            data = await service.queue.in_thread(path.read_bytes)
            _, shape = await service.check_photo(data)
            made: str = await service.queue.in_thread(small)
        except UserError as error:
            raise refused(error) from None
        except OSError:
            raise HTTPProblem(404, f"{path.name} is no longer here: upload it again") from None
        return made
