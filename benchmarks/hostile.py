"""Hostile requests, each of which is to get a 4xx at once: no images, bombs, paths, headers, wrong values."""

from __future__ import annotations

import contextlib
import io
import json
import random
import socket
import struct
import time
import zlib

from PIL import Image


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG that says it has that size, whatever is in it."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks
    )


def photo(form: str = "PNG") -> bytes:
    """A photo that is well."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 48), 60).convert("RGB").save(buffer, form)
    return buffer.getvalue()


def post(target: str, body: bytes, *fields: str, length: int | None = None) -> bytes:
    """A request as bytes."""
    lines = [
        f"POST {target} HTTP/1.1",
        "Host: localhost",
        f"Content-Length: {len(body) if length is None else length}",
    ]
    return "\r\n".join([*lines, *fields, "Connection: close", "", ""]).encode("latin-1") + body


def get(target: str) -> bytes:
    """The same without a body."""
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


def event(dice: random.Random, path: str) -> bytes:
    """An event of the page with a file that was never uploaded."""
    file = {"path": path, "url": path, "meta": {"_type": "gradio.FileData"}}
    data = {"data": [file], "fn_index": dice.randrange(9), "session_hash": f"s{dice.randrange(10**9)}"}
    return post("/page/gradio_api/queue/join", json.dumps(data).encode(), "Content-Type: application/json")


def hostile(dice: random.Random) -> tuple[str, bytes]:
    """A kind of malice and a request of it."""
    stylize = "/v1/stylize?style=wave"
    kinds = {
        "no image": lambda: post(stylize, dice.randbytes(dice.randrange(2000))),
        "bomb": lambda: post(stylize, png(50_000, 50_000, zlib.compress(bytes(10**6)))),
        "long bomb": lambda: post(stylize, png(100_000, 1, zlib.compress(bytes(300_001)))),
        "cut image": lambda: post(stylize, photo(dice.choice(["PNG", "JPEG"]))[: dice.randrange(60, 600)]),
        "says small": lambda: post(
            stylize, png(64, 64, zlib.compress(bytes(10**7)))[: dice.randrange(40, 60)]
        ),
        "path": lambda: post("/v1/stylize?style=" + "..%2f" * dice.randrange(1, 9) + "etc%2fpasswd", photo()),
        "plain path": lambda: post(f"/v1/models/../../{dice.randrange(99)}/thumbnail", b""),
        "huge header": lambda: post(stylize, photo(), "X-A: " + "a" * dice.randrange(70_000, 200_000)),
        "many headers": lambda: post(stylize, photo(), *(f"X-{i}: {'b' * 90}" for i in range(900))),
        "large body": lambda: post(stylize, b"", length=10**11),
        "wrong value": lambda: post(
            f"{stylize}&size={dice.choice(['0', '-1', '1e9', 'x', '9' * 40])}", photo()
        ),
        "wrong strength": lambda: post(
            f"{stylize}&strength={dice.choice(['nan', 'inf', '-1', '2'])}", photo()
        ),
        "broken form": lambda: post(
            stylize, dice.randbytes(300), "Content-Type: multipart/form-data; boundary=x"
        ),
        "form without boundary": lambda: post(stylize, photo(), "Content-Type: multipart/form-data"),
        "other host": lambda: post(stylize, photo()).replace(b"Host: localhost", b"Host: evil.example"),
        "other origin": lambda: post(stylize, photo(), "Origin: https://evil.example"),
        "no such texture": lambda: post(f"/v1/sample?texture={dice.randrange(99)}&size=99999x99999", b""),
        "file of the system": lambda: event(dice, path="/etc/passwd"),
        "file from elsewhere": lambda: event(dice, path="http://127.0.0.1:9/a.png"),
        "file read": lambda: get(
            f"/page/gradio_api/file=/etc/{dice.choice(['passwd', 'hosts', '../etc/shadow'])}"
        ),
        "proxy": lambda: get("/page/gradio_api/proxy=http://127.0.0.1:9/"),
        "no event": lambda: post("/page/gradio_api/queue/join", dice.randbytes(300)),
        "deep event": lambda: post("/page/gradio_api/queue/join", b"[" * 100_000),
        "large upload": lambda: post("/page/gradio_api/upload", b"", length=10**11),
        "unknown route": lambda: get(
            f"/page/gradio_api/{dice.choice(['vibe-edit', 'call/f', 'run/predict', 'api/f'])}"
        ),
        "not HTTP": lambda: dice.randbytes(50) + b"\r\n\r\n",
    }
    kind = dice.choice(list(kinds))
    return kind, kinds[kind]()


def exchange(place: tuple[str, int], request: bytes, patience: float = 5.0) -> tuple[bytes, float]:
    """What comes back, and after how many seconds it began to."""
    with socket.create_connection(place, timeout=patience) as line:
        began = time.monotonic()
        with contextlib.suppress(OSError):  # refused before all was sent; the answer may be there
            line.sendall(request)
        try:
            answer = line.recv(65536)
        except OSError:
            answer = b""
        took = time.monotonic() - began
        with contextlib.suppress(OSError):
            while more := line.recv(65536):
                answer += more
    return answer, took


def verdict(answer: bytes, took: float, most: float) -> str:
    """What is wrong with an answer; empty for nothing."""
    start = answer[:12]
    if not start.startswith(b"HTTP/1.1 4"):
        return f"answered {start!r}"
    if b"Traceback" in answer or b'File "' in answer:
        return "shows a trace"
    return f"took {took:.1f} s" if took > most else ""


def attack(place: tuple[str, int], count: int, within: float, dice: random.Random) -> list[str]:
    """So many hostile requests, one after the other; what was wrong with their answers. Prints the slowest kinds."""
    times: dict[str, float] = {}
    wrong: list[str] = []
    for _ in range(count):
        kind, request = hostile(dice)
        answer, took = exchange(place, request, 5 * within)
        times[kind] = max(times.get(kind, 0.0), took)
        if said := verdict(answer, took, within):
            wrong.append(f"{kind}: {said}")
    slow = sorted(times.items(), key=lambda item: -item[1])[:3]
    print(f"{count} hostile requests, slowest: " + ", ".join(f"{kind} {took:.2f} s" for kind, took in slow))
    return wrong
