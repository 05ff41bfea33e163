"""The bodies of requests: an image's file, the file of a form, or none; and whether the client still waits."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Collection, Coroutine, Sequence
from typing import Any, TypeVar

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from texturenets.server.http_errors import AS_QUERY, GoneError, HTTPProblem

T = TypeVar("T")


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives, while the client waits for it. After the body has been read. Raises GoneError."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise GoneError("the client has gone")
        return task.result()
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


STRIPPED = (
    "the body is text, or a file without its zeros and line ends, as curl -d sends it: send the file by "
    "curl --data-binary @photo.jpg, or in a form by curl -F image=@photo.jpg"
)

MASKS = 8
"""Files of a form beside the image, at most."""

ANIMATED = ("GIF", "WEBP", "PNG")
"""Pillow's formats in which several images are frames, which are refused; in TIFF they are pages, in HEIC further
shots."""

NO_EFFECT = f"a body has no effect: {AS_QUERY}"


async def read_image_body(
    request: Request, beside: Sequence[str] = (), words: Collection[str] = ()
) -> tuple[bytes, dict[str, list[bytes | str]]]:
    """The body, or the file of the form in it, and the form's fields `beside` by their names: files, or `words`.

    Raises HTTPProblem, also for words in the form, and GoneError.
    """
    kind = request.headers.get("content-type", "").lower()
    _check_plain(request)
    try:
        if kind.startswith("multipart/form-data"):
            return await _files(request, beside, words)
        data = await request.body()
    except ClientDisconnect:
        raise GoneError("the body ended early") from None
    except MultiPartException as error:
        said = error.message.rstrip(".")
        raise HTTPProblem(
            400, f"the form cannot be read: {said}; curl -F image=@photo.jpg sends one that can"
        ) from None
    if not data:
        raise HTTPProblem(
            415, "the body is empty: send the image's file, as curl --data-binary @photo.jpg does"
        )
    # curl names this type for --data-binary too. Every image file contains a NUL, CR or LF byte.
    if kind.startswith("application/x-www-form-urlencoded") and not any(one in data for one in b"\0\r\n"):
        raise HTTPProblem(415, STRIPPED)
    return data, {}


async def _files(
    request: Request, beside: Sequence[str], words: Collection[str]
) -> tuple[bytes, dict[str, list[bytes | str]]]:
    """The file of a form, and the fields `beside`. Raises HTTPProblem where there is none, or another one."""
    parser = _FormParser(request.headers, request.stream(), max_files=1 + MASKS, max_fields=8)
    form = await parser.parse()
    try:
        if not parser.whole:
            raise HTTPProblem(400, "the form ends before its last boundary: it is cut short")
        fields = form.multi_items()
        main = [
            (name, value) for name, value in fields if isinstance(value, UploadFile) and name not in beside
        ]
        _check_main([name for name, _ in main], beside)
        if not main:
            raise HTTPProblem(422, _no_photo(fields))
        _refuse_texts(fields, beside, words)
        if not (data := await main[0][1].read()):
            raise HTTPProblem(415, "the file in the form is empty")
        others: dict[str, list[bytes | str]] = {}
        for name, value in fields:
            if name in beside:
                others.setdefault(name, []).append(value if isinstance(value, str) else await value.read())
        return data, others
    finally:
        await form.close()  # its files are gone then


def _check_main(names: list[str], beside: Sequence[str]) -> None:
    """Raises HTTPProblem for several images, `names` being their fields."""
    if len(names) < 2:
        return
    for name in names:
        if near := difflib.get_close_matches(name.lower(), beside, n=1):
            raise HTTPProblem(
                422, f"the form's file {name[:64]!r} has an unknown name; did you mean {near[0]!r}?"
            )
    named = " and ".join(repr(name[:64]) for name in names[:2])
    others = f"; files beside it are called {' or '.join(beside)}" if beside else ""
    raise HTTPProblem(400, f"the form holds several photos, {named}, and one is taken{others}")


def _no_photo(fields: Sequence[tuple[str, UploadFile | str]]) -> str:
    """What is said of a form without an image."""
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
    """Knows whether the last boundary has come."""

    whole = False

    def on_end(self) -> None:
        self.whole = True


async def no_body(request: Request) -> None:
    """Raises HTTPProblem for a body, which would have no effect, and GoneError."""
    _check_plain(request)
    try:
        async for chunk in request.stream():
            if chunk:
                raise HTTPProblem(422, NO_EFFECT)
    except ClientDisconnect:
        raise GoneError("the body ended early") from None


def _refuse_texts(
    fields: Sequence[tuple[str, UploadFile | str]], beside: Sequence[str], words: Collection[str]
) -> None:
    """Raises HTTPProblem for a text in a form, but for one of `words` in one of the fields `beside`."""
    for name, value in fields:
        if isinstance(value, str) and name not in beside:
            raise HTTPProblem(422, f"{name[:64]!r} in the form: {AS_QUERY}")
        if isinstance(value, str) and value not in words:
            taken = f"send a file, as -F {name}=@{name}.png does, or {' or '.join(words)}"
            raise HTTPProblem(422, f"{name} in the form is the text {value[:64]!r}: {taken}")


def _check_plain(request: Request) -> None:
    """Raises HTTPProblem for a body that is compressed."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        said = f"the body is compressed (Content-Encoding: {encoding[:32]}): send the file as it is"
        raise HTTPProblem(415, said, {"Accept-Encoding": "identity"})
