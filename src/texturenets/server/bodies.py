"""Request bodies: an image file, a form with image files, or none; and work that ends when the client disconnects."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Collection, Coroutine, Sequence
from typing import Any, TypeVar

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from texturenets.server.http_errors import AS_QUERY, DisconnectedError, HTTPProblem

T = TypeVar("T")


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client disconnects: raises DisconnectedError.

    To be called when the body has been read.
    """
    task = asyncio.ensure_future(work)
    disconnect = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        await asyncio.wait({task, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise DisconnectedError("the client disconnected")
        return task.result()
    finally:
        for one in (task, disconnect):
            one.cancel()
        await asyncio.gather(task, disconnect, return_exceptions=True)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


BODY_IS_TEXT = (
    "the body is text, or a file without its zeros and line ends, as curl -d sends it: send the file by "
    "curl --data-binary @photo.jpg, or in a form by curl -F image=@photo.jpg"
)

JSON_BEGINS = (b"{", b"[")
"""First bytes of JSON, with which no image file begins."""

MAX_MASKS = 8
"""Maximum number of files in a form besides the image."""

ANIMATED = ("GIF", "WEBP", "PNG")
"""Pillow's formats whose several images are frames: such files are refused. In TIFF they are pages, in HEIC shots, of
which the first one is used."""

NO_EFFECT = f"a body has no effect: {AS_QUERY}"


async def read_image_body(
    request: Request, extra_fields: Sequence[str] = (), extra_words: Collection[str] = ()
) -> tuple[bytes, dict[str, list[bytes | str]]]:
    """The image file that is the body, or in the form in the body; and the form's `extra_fields` by name.

    Extra fields are files, or one of `extra_words` as text. Raises HTTPProblem, also for any other text in the form,
    and DisconnectedError.
    """
    kind = request.headers.get("content-type", "").lower()
    _check_plain(request)
    try:
        if kind.startswith("multipart/form-data"):
            return await _files(request, extra_fields, extra_words)
        data = await request.body()
    except ClientDisconnect:
        raise DisconnectedError("the body ended early") from None
    except MultiPartException as error:
        why = error.message.rstrip(".")
        raise HTTPProblem(
            400, f"the form cannot be read: {why}; curl -F image=@photo.jpg sends one that can"
        ) from None
    if not data:
        raise HTTPProblem(
            415, "the body is empty: send the image's file, as curl --data-binary @photo.jpg does"
        )
    # curl names this type for --data-binary too. Every image file contains a NUL, CR or LF byte.
    urlencoded = kind.startswith("application/x-www-form-urlencoded")
    if (urlencoded and not any(one in data for one in b"\0\r\n")) or data.lstrip()[:1] in JSON_BEGINS:
        raise HTTPProblem(415, BODY_IS_TEXT)
    return data, {}


async def _files(
    request: Request, extra_fields: Sequence[str], extra_words: Collection[str]
) -> tuple[bytes, dict[str, list[bytes | str]]]:
    """The image file of a form, and its `extra_fields`. Raises HTTPProblem for no or several image files."""
    parser = _FormParser(request.headers, request.stream(), max_files=1 + MAX_MASKS, max_fields=8)
    form = await parser.parse()
    try:
        if not parser.complete:
            raise HTTPProblem(400, "the form ends before its last boundary: it is cut short")
        fields = form.multi_items()
        main = [
            (name, value)
            for name, value in fields
            if isinstance(value, UploadFile) and name not in extra_fields
        ]
        _check_main([name for name, _ in main], extra_fields)
        if not main:
            raise HTTPProblem(422, _no_photo(fields))
        _refuse_texts(fields, extra_fields, extra_words)
        if not (data := await main[0][1].read()):
            raise HTTPProblem(415, "the file in the form is empty")
        others: dict[str, list[bytes | str]] = {}
        for name, value in fields:
            if name in extra_fields:
                others.setdefault(name, []).append(value if isinstance(value, str) else await value.read())
        return data, others
    finally:
        await form.close()  # deletes its temporary files


def _check_main(names: list[str], extra_fields: Sequence[str]) -> None:
    """Raises HTTPProblem for several image files; `names`: of their fields."""
    if len(names) < 2:
        return
    for name in names:
        if near := difflib.get_close_matches(name.lower(), extra_fields, n=1):
            raise HTTPProblem(
                422, f"the form's file {name[:64]!r} has an unknown name; did you mean {near[0]!r}?"
            )
    named = " and ".join(repr(name[:64]) for name in names[:2])
    others = f"; other files are called {' or '.join(extra_fields)}" if extra_fields else ""
    raise HTTPProblem(400, f"the form holds several photos, {named}: send one{others}")


def _no_photo(fields: Sequence[tuple[str, UploadFile | str]]) -> str:
    """The error message for a form without an image file."""
    files = [name for name, value in fields if isinstance(value, UploadFile)]
    texts = [name for name, value in fields if isinstance(value, str)]
    if files:
        return f"the form holds no photo beside {files[0]!r}: send it as a file, too, as -F photo=@photo.jpg does"
    but = f", but {texts[0][:64]!r} as text" if texts else ""
    return (
        f"the form holds no file{but}: send the image as one, in a field of any name, as curl -F image=@photo.jpg, "
        "with an @, does"
    )


class _FormParser(MultiPartParser):
    """Records in `complete` whether the form's last boundary has arrived."""

    complete = False

    def on_end(self) -> None:
        self.complete = True


async def no_body(request: Request) -> None:
    """Read a body that should be empty. Raises HTTPProblem if it is not, and DisconnectedError."""
    _check_plain(request)
    try:
        async for chunk in request.stream():
            if chunk:
                raise HTTPProblem(422, NO_EFFECT)
    except ClientDisconnect:
        raise DisconnectedError("the body ended early") from None


def _refuse_texts(
    fields: Sequence[tuple[str, UploadFile | str]], extra_fields: Sequence[str], extra_words: Collection[str]
) -> None:
    """Raises HTTPProblem for text in a form, except one of `extra_words` in one of the `extra_fields`."""
    for name, value in fields:
        if isinstance(value, str) and name not in extra_fields:
            raise HTTPProblem(422, f"{name[:64]!r} in the form: {AS_QUERY}")
        if isinstance(value, str) and value not in extra_words:
            way = f"send a file, as -F {name}=@{name}.png does, or {' or '.join(extra_words)}"
            raise HTTPProblem(422, f"{name} in the form is the text {value[:64]!r}: {way}")


def _check_plain(request: Request) -> None:
    """Raises HTTPProblem for a compressed body."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        detail = f"the body is compressed (Content-Encoding: {encoding[:32]}): send the file as it is"
        raise HTTPProblem(415, detail, {"Accept-Encoding": "identity"})
