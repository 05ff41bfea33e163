"""The part of the page that adds a second style and paints a mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from texturenets import image
from texturenets.modelfiles.titles import title
from texturenets.server.http_errors import HTTPProblem
from texturenets.server.service import Service
from texturenets.server.ui.mix import COLOR, Mix, PaintedMask, other_styles, read_layer, read_mask
from texturenets.server.ui.pictures import PictureInput, Uploads
from texturenets.server.ui.store import Store
from texturenets.server.ui.texts import STALE_VALUE, error_html, message_html, sentence

KEEP, SECOND = "keep", "second"
GOALS = [("Keep as in the photo", KEEP), ("The second style goes here", SECOND)]
BRUSHES: list[str | tuple[str, float]] = [(COLOR, 1.0), (COLOR, 0.5)]
"""Colour and opacity: the mask is as white as the paint is opaque."""

PAINT = (
    "Paint over what should stay as in the photo or, if a second style is chosen, where it should go. "
    "The lighter brush has half the effect."
)
QUIET: Any = {"show_progress": "hidden"}


class MixAndMask:
    """Builds that part within a gradio.Blocks. `mix` and `mask`, each a gradio.State, hold the user's choice: a `Mix`
    and a `PaintedMask`."""

    def __init__(
        self, service: Service, store: Store, photos: PictureInput, chosen_style: str | None
    ) -> None:
        self.service, self.store, self.photos = service, store, photos
        self.mix, self.mask = gr.State(Mix()), gr.State(PaintedMask())
        # Show the editor only once the accordion is open: Gradio's ImageEditor stays empty if created while hidden.
        self.opened, self.shown = gr.State(False), gr.State("")
        with gr.Accordion("Mix and mask", open=False, elem_id="mix-and-mask") as self.part:
            others = other_styles(service.catalogue, chosen_style)
            self.second = gr.Dropdown(
                _choices(others),
                value="",
                label="Second style",
                visible=bool(others),
                interactive=True,
                elem_id="second",
            )
            self.share = gr.Slider(
                0,
                1,
                Mix().share,
                step=0.05,
                label="How much of the second style",
                visible=False,
                elem_id="second-share",
            )
            self.goal = gr.Radio(GOALS, value=KEEP, label="Where you paint", visible=False, elem_id="goal")
            self.hint = gr.HTML(_hint(()), padding=False, elem_id="mask-hint")
            self.editor = gr.ImageEditor(
                label="Mask",
                show_label=False,
                sources=(),
                transforms=(),
                layers=False,
                brush=gr.Brush(colors=BRUSHES, color_mode="fixed"),
                buttons=[],
                height=380,
                visible=False,
                interactive=True,
                elem_id="mask",
            )
            self.upload = gr.UploadButton(
                "Mask from a file",
                file_types=["image", *sorted(image.suffixes())],
                size="sm",
                visible=False,
                elem_id="mask-file",
            )

    def listen(self, style: Any, messages: Any) -> None:
        """`style`: the component that holds the chosen style. `messages`: the component for errors about the mask."""
        controls, photos = [self.second, self.share, self.goal], self.photos.uploads
        style.change(self._styles, [style, self.mix], controls, **QUIET)
        self.second.input(self._chosen, controls, [self.mix, self.share, self.goal], **QUIET)
        self.goal.input(_mix, controls, self.mix, **QUIET)
        self.share.change(_mix, controls, self.mix, trigger_mode="always_last", **QUIET)
        photo_outputs = [self.editor, self.upload, self.hint, self.shown]
        photos.change(self._photo, [photos, self.opened], [*photo_outputs, self.mask], **QUIET)
        self.part.expand(self._opened, [photos, self.shown], [*photo_outputs, self.opened], **QUIET)
        self.part.collapse(lambda: False, None, self.opened, **QUIET)
        self.editor.clear(self._photo, [photos, self.opened], [*photo_outputs, self.mask], **QUIET)
        upload_outputs = [self.editor, self.hint, self.mask, messages]
        self.upload.upload(self._uploaded, [self.upload, photos], upload_outputs, **QUIET)
        # preprocess=False: take the raw value, with file paths; Gradio would decode files of any size.
        self.editor.apply(
            self._painted,
            [self.editor, photos, self.mask],
            [self.mask, messages],
            preprocess=False,
            trigger_mode="always_last",
            **QUIET,
        )

    def _styles(self, style: str | None, mix: Mix) -> tuple[Any, Any, Any]:
        """The style changed: returns updates for the mixing controls."""
        others = other_styles(self.service.catalogue, style)
        still_available = mix.second in others
        value = mix.second if still_available else ""
        second = gr.update(choices=_choices(others), value=value, visible=bool(others))
        return second, gr.update(visible=still_available), gr.update(visible=still_available)

    @staticmethod
    def _chosen(second: str, share: float, goal: str) -> tuple[Any, Any, Any]:
        shown = gr.update(visible=bool(second))
        return _mix(second, share, goal), shown, shown

    def _photo(self, photos: Uploads, opened: bool, request: gr.Request) -> tuple[Any, ...]:
        """The photo changed or the mask was cleared: returns updates for the editor, the upload button, the hint, the
        photo in the editor and the mask."""
        for what in ("mask", "uploaded mask"):
            self.store.replace(request.session_hash or "", what, [])
        editor, shown = _editor(photos if opened else ())
        return editor, gr.update(visible=bool(shown)), _hint(photos), shown, PaintedMask()

    @staticmethod
    def _opened(photos: Uploads, shown: str) -> tuple[Any, ...]:
        """The accordion was opened: as `_photo`, unless the photo is already shown."""
        if len(photos) == 1 and photos[0][0] == shown:
            return gr.skip(), gr.skip(), gr.skip(), gr.skip(), True
        editor, now = _editor(photos)
        return editor, gr.update(visible=bool(now)), _hint(photos), now, True

    async def _uploaded(self, path: str | None, photos: Uploads, request: gr.Request) -> tuple[Any, ...]:
        """A mask was uploaded: returns updates for the editor that shows it, the hint, the mask, and the error
        message if it cannot be used."""
        if path is None or len(photos) != 1:
            return gr.skip(), gr.skip(), gr.skip(), gr.skip()
        session, (preview, photo) = request.session_hash or "", photos[0]
        self.store.replace(session, "mask file", [Path(path)])
        try:
            made = await read_mask(self.service, Path(path), photo, preview)
        except HTTPProblem as problem:
            return gr.skip(), gr.skip(), gr.skip(), error_html(sentence(problem, Path(path).name))
        self.store.replace(session, "mask", [])
        mask, shown = self.store.put(
            session, "uploaded mask", {"mask.png": made.data, "shown.jpg": made.shown}
        )
        hint = message_html(f"{made.note} Strokes are added to it; Clear starts over.")
        return _background(shown), hint, PaintedMask(str(mask), photo, str(mask)), gr.skip()

    async def _painted(
        self, value: Any, photos: Uploads, before: PaintedMask, request: gr.Request
    ) -> tuple[Any, Any]:
        """A stroke was painted: returns the mask, and the error message if it cannot be used. `value`: the
        editor's."""
        session = request.session_hash or ""
        layers = _paths(value, "layers")
        sent = [*layers, *_paths(value, "background"), *_paths(value, "composite")]
        self.store.replace(
            session, "strokes", [path for path in sent if path.is_relative_to(self.store.folder)]
        )
        try:
            has_strokes = layers and len(photos) == 1
            made = await read_layer(self.service, layers[-1], before.uploaded) if has_strokes else None
        except HTTPProblem as problem:
            return gr.skip(), error_html(sentence(problem, "the mask"))
        if made is None:
            self.store.replace(session, "mask", [])
            return PaintedMask(), gr.skip()
        if before.file and Path(before.file).is_file() and Path(before.file).read_bytes() == made:
            return gr.skip(), gr.skip()
        (path,) = self.store.put(session, "mask", {"mask.png": made})
        return PaintedMask(str(path), photos[0][1], before.uploaded), gr.skip()


def _mix(second: str, share: float, goal: str) -> Mix:
    return Mix(second or "", float(share), goal != SECOND)


def _editor(photos: Uploads) -> tuple[Any, str]:
    """The editor with the photo to paint over, and that photo; hidden and "" unless there is exactly one photo."""
    if len(photos) != 1:
        return gr.update(value=None, visible=False), ""
    return _background(photos[0][0]), photos[0][0]


def _background(path: str | Path) -> Any:
    """The editor with that image to paint over."""
    return gr.update(value={"background": str(path), "layers": [], "composite": None}, visible=True)


def _choices(others: list[str]) -> list[tuple[str, str]]:
    return [("None", ""), *((title(name.rpartition(":")[2]), name) for name in others)]


def _hint(photos: Uploads) -> str:
    if len(photos) == 1:
        return message_html(PAINT)
    return message_html(
        "A mask is for one photo: choose one." if photos else "To paint a mask, choose a photo first."
    )


def _paths(value: Any, part: str) -> list[Path]:
    """The files of a part of the editor's value. Raises gradio.Error for a malformed value."""
    try:
        found = value[part] or []
        return [Path(one["path"]) for one in (found if isinstance(found, list) else [found])]
    except (TypeError, KeyError):
        raise gr.Error(STALE_VALUE, print_exception=False) from None
