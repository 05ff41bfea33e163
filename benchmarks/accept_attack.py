"""A service attacked on loopback, a few minutes: floods, bad files, a full disk, clients that give up, its end.

    python benchmarks/accept_attack.py [--count 1000]

With 256 descriptors the service is given: connections that never finish their headers; images that nobody waits
for; events and uploads of the page by the thousand; bad files among its models; trainings without an end while they
are looked at, with a disk that is full for six seconds in between; hostile requests, each to be refused within a
second; bodies that are slow. Throughout, /healthz is to answer within a second. At the end the same photo gives the
same image, memory is within 10 % of that before, every training that was accepted has ended, the log has at most
10 MB and no trace, and at SIGTERM work in flight is answered and nothing stays in the temporary directory.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import http.client
import io
import json
import os
import random
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import hostile
from hostile import exchange, post
from PIL import Image
from service import Running, service

DESCRIPTORS = 256
SECONDS = 10.0
EMPTY = b"\r\n\r\n"
PAINT = "/v1/stylize?style=wave"
API = "/page/gradio_api"


def call(
    running: Running, method: str, path: str, body: bytes = b"", *, kind: str = "", patience: float = 60
) -> tuple[int, bytes]:
    """Status and body of an answer; 0 for none."""
    line = http.client.HTTPConnection(*running.host, timeout=patience)
    with contextlib.closing(line):
        try:
            line.request(method, path, body, {"Content-Type": kind} if kind else {})
            answer = line.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 0, b""


def noise(width: int, height: int) -> bytes:
    """A photo's file."""
    buffer = io.BytesIO()
    Image.effect_noise((width, height), 60).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


class Pulse(threading.Thread):
    """Asks for /healthz all the time: how often, and how long the slowest answer took in each stage."""

    def __init__(self, running: Running) -> None:
        super().__init__(daemon=True)
        self.running, self.stage = running, "start"
        self.over = threading.Event()
        self.slowest: dict[str, float] = {}
        self.count = 0

    def run(self) -> None:
        """Until it is over."""
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        while not self.over.wait(0.1):
            began, stage = time.monotonic(), self.stage
            try:
                answer, _ = exchange(self.running.host, request, 10)
            except OSError:
                answer = b""
            took = time.monotonic() - began if answer.startswith(b"HTTP/1.1 200") else 99.0
            self.slowest[stage] = max(self.slowest.get(stage, 0.0), took)
            self.count += 1


# ---- Stages: each gives what was wrong


def connections(running: Running) -> Iterator[str]:
    """More than there are descriptors, none of which finishes its headers."""
    held = []
    for _ in range(DESCRIPTORS + 20):
        line = socket.create_connection(running.host, timeout=10)
        line.sendall(b"POST /v1/stylize HTTP/1.1\r\nHost: ")
        held.append(line)
    time.sleep(12)
    for line in held:
        line.close()
    both = post("/v1/sample", b"0\r\n\r\n", "Transfer-Encoding: chunked").replace(
        b"Connection: close\r\n", b""
    )
    answer, _ = exchange(running.host, both + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    if not answer.startswith(b"HTTP/1.1 400") or answer.count(b"HTTP/1.1") != 1:
        yield "two lengths in one request are not refused"


def given_up(running: Running) -> Iterator[str]:
    """Images that nobody waits for, before one that somebody does."""
    large, small = post(PAINT, noise(1400, 1000)), post(PAINT, noise(64, 48))
    began = time.monotonic()
    answer, alone = exchange(running.host, large, 60)
    for _ in range(16):
        with socket.create_connection(running.host, timeout=10) as line:
            line.sendall(large)
            time.sleep(0.02)
    time.sleep(0.3)
    answer, took = exchange(running.host, small, 60)
    print(f"an image takes {alone:.1f} s; a small one after 16 that were given up {took:.1f} s")
    if not answer.startswith(b"HTTP/1.1 200") or took > 1 + 3 * alone:
        yield f"after images that were given up a small one took {took:.1f} s ({time.monotonic() - began:.0f} s)"


def page(running: Running, events: int = 1200) -> Iterator[str]:
    """Events of many sessions, long ones, and uploads of many files."""
    seen: Counter[str] = Counter()
    for i in range(events):
        size = 200_000 if i % 3 == 0 else 40_000
        data = {"data": ["x" * size], "fn_index": i % 4, "session_hash": f"s{i}"}
        status, _ = call(
            running, "POST", f"{API}/queue/join", json.dumps(data).encode(), kind="application/json"
        )
        seen[f"join {status}"] += 1
    for i in range(events // 60 + 2):
        count = 1000 if i % 2 else 50
        parts = [
            f'--x\r\nContent-Disposition: form-data; name="files"; filename="{k}.png"\r\n\r\nx\r\n'
            for k in range(count)
        ]
        body = ("".join(parts) + "--x--\r\n").encode()
        status, _ = call(running, "POST", f"{API}/upload", body, kind="multipart/form-data; boundary=x")
        seen[f"upload {status}"] += 1
    print(f"the page: {dict(sorted(seen.items()))}")
    if not seen["join 413"] or not seen["upload 413"] or any(key.endswith((" 500", " 0")) for key in seen):
        yield f"events and uploads of the page were answered {dict(seen)}"


def models(running: Running, folder: Path) -> Iterator[str]:
    """Bad files among the models."""
    (folder / "nested.safetensors").write_bytes(_header(b'"' + b"[" * 60_000 + b'"'))
    (folder / "infinite.safetensors").write_bytes(_header(rb'"{\"format\": Infinity}"'))
    (folder / "half.safetensors").write_bytes(_header(rb'"{\"format\": 1, \"licence\": \"\\ud800\"}"'))
    (folder / "empty.safetensors").touch()
    os.mkfifo(folder / "fifo.safetensors")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.safetensors")).touch()
    for _ in range(20):
        status, body = call(running, "GET", "/v1/models")
        if status != 200 or b"wave" not in body:
            yield f"with bad files among the models /v1/models answers {status}"


def _header(text: bytes) -> bytes:
    data = b'{"__metadata__": {"texturenets": ' + text + b"}}"
    return len(data).to_bytes(8, "little") + data


def warm_training(running: Running) -> Iterator[str]:
    """The first training asked for makes the service import PyTorch, which it keeps."""
    call(running, "POST", "/v1/trainings?name=warm&kind=texture&steps=1", noise(64, 64))
    while _states(running, ["warm"]) - {"done", "failed"}:
        time.sleep(0.5)
    yield from ()


def trainings(running: Running, folder: Path, accepted: list[str]) -> Iterator[str]:
    """Many, looked at all the time, with a disk that is full for six seconds; names of those taken to `accepted`."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            call(running, "GET", "/v1/trainings")

    threads = [threading.Thread(target=look, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    (folder / "left.job").mkdir()  # as a full disk once left it
    exemplar, seen = noise(64, 64), Counter[str]()
    pid, unlimited = running.process.pid, resource.RLIM_INFINITY
    for i in range(40):
        if i == 3:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, unlimited))
        name = "left" if i == 0 else f"t{i}"
        target = f"/v1/trainings?name={name}&kind=texture&steps=1"
        status, body = call(running, "POST", target, exemplar)
        seen[str(status)] += 1
        if status == 202:
            accepted.append(name)
        elif status not in (422, 503) or b"Traceback" in body:
            yield f"a training is answered {status} {body[:100]!r}"
        if i == 6:
            time.sleep(6)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
    print(f"40 trainings asked for: {dict(sorted(seen.items()))}")
    if "left" not in accepted:
        yield "an empty folder of a training blocks its name"
    ends = time.monotonic() + 240
    while (states := _states(running, accepted)) - {"done", "failed"} and time.monotonic() < ends:
        time.sleep(0.5)
    over.set()
    for thread in threads:
        thread.join()
    if states - {"done", "failed"}:
        yield f"trainings did not end: {states}"


def _states(running: Running, names: list[str]) -> set[str]:
    _, body = call(running, "GET", "/v1/trainings")
    return {one["state"] for one in json.loads(body)["trainings"] if one["name"] in names}


def slow(running: Running, limit: float) -> Iterator[str]:
    """Bodies that do not come."""
    for _ in range(3):
        answer, took = exchange(running.host, post(PAINT, b"slow", length=4000), 60)
        if said := hostile.verdict(answer, took, limit + 1):
            yield f"slow body: {said}"


def end(running: Running, temporary: Path) -> Iterator[str]:
    """SIGTERM with an image at work."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        last = pool.submit(call, running, "POST", PAINT, noise(2600, 2000))
        time.sleep(0.7)
        running.process.send_signal(signal.SIGTERM)
        status, _ = last.result()
        left = running.process.wait(60)
    print(f"at its end work in flight was answered {status}, and the service ended with {left}")
    if status not in (200, 503) or left:
        yield f"at its end work in flight was answered {status}, and the service ended with {left}"
    found = [
        path.name for path in temporary.iterdir() if not path.name.startswith("torchinductor_")
    ]  # PyTorch's cache
    if found:
        yield f"in the temporary directory there is still {found}"


def settled(running: Running) -> int:
    """Bytes that it holds after some images: freed memory goes back at most once in ten seconds."""
    for _ in range(3):
        time.sleep(5.5)
        exchange(running.host, post(PAINT, hostile.photo()), 60)
    return running.resident()


def attack(running: Running, folder: Path, options: argparse.Namespace) -> list[str]:
    """All stages, and what was wrong in them."""
    good, accepted, wrong = post(PAINT, hostile.photo()), list[str](), list[str]()
    while call(running, "GET", "/readyz")[0] != 200:
        time.sleep(0.1)
    call(running, "GET", "/page/")
    for warm in (given_up(running), page(running, 12), warm_training(running)):  # what loads code and models
        list(warm)
    before, _ = exchange(running.host, good, 60)
    memory = settled(running)
    pulse = Pulse(running)
    pulse.start()
    dice = random.Random(options.seed)
    stages: dict[str, Callable[[], Iterable[str]]] = {
        "connections": lambda: connections(running),
        "given up": lambda: given_up(running),
        "page": lambda: page(running),
        "models": lambda: models(running, folder),
        "trainings": lambda: trainings(running, folder, accepted),
        "hostile": lambda: hostile.attack(running.host, options.count, options.within, dice),
        "slow": lambda: slow(running, SECONDS),
    }
    for pulse.stage, stage in stages.items():
        wrong += [f"{pulse.stage}: {said}" for said in stage()]
    pulse.stage = "end"
    grown = settled(running) / memory - 1
    after, _ = exchange(running.host, good, 60)
    pulse.over.set()
    pulse.join()
    if before.partition(EMPTY)[2] != after.partition(EMPTY)[2] or not after.startswith(b"HTTP/1.1 200"):
        wrong.append("the same photo gives another image")
    if slowest := {k: round(v, 2) for k, v in pulse.slowest.items() if v > options.within}:
        wrong.append(f"/healthz took seconds: {slowest}")
    if abs(grown) > 0.1:
        wrong.append(f"memory {grown:+.1%}")
    print(
        f"/healthz asked {pulse.count} times, slowest {max(pulse.slowest.values()):.2f} s; memory "
        f"{memory / 2**20:.0f} MiB, {grown:+.1%}; {len(accepted)} trainings taken and ended"
    )
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="hostile requests")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--within", type=float, default=1.0, help="seconds; more on a machine that is busy")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folder, photos, temporary, weights = (root / each for each in ("models", "photos", "tmp", "weights"))
        log = root / "log"
        for place in (folder, photos, temporary, weights):
            place.mkdir()
        for network in (
            "vgg16",
            "squeezenet1_0",
            "squeezenet1_1",
        ):  # so that trainings are taken; they fail soon
            (weights / f"{network}.safetensors").touch()
        words = ["--models", str(folder), "--photos", str(photos), "--preload", "wave"]
        few = ["--max-seconds", str(SECONDS), "--max-bytes", "4M", "--max-trainings", "5"]
        prefix = ("sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "sh")
        environment = {
            "TMPDIR": str(temporary),
            "TEXTURENETS_OFFLINE": "1",
            "TEXTURENETS_WEIGHTS": str(weights),
        }
        with service(log, *words, *few, prefix=prefix, environment=environment) as running:
            wrong = attack(running, folder, options)
            wrong += end(running, temporary)
        text = log.read_text(errors="replace")
    if len(text) > 10 * 10**6:
        wrong.append(f"the log has {len(text) / 10**6:.1f} MB")
    # What Gradio prints of events that are none is not the service's own, and is there once in ten seconds.
    ours = [line for line in text.splitlines() if "Traceback" in line and '"event": "printed"' not in line]
    wrong += [f"a trace in the log: {line[-300:]}" for line in ours[:3]]
    print(f"log {len(text) / 10**6:.2f} MB; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for said, count in Counter(wrong).most_common(20):
        print(f"{count} x {said}")
    if wrong:
        sys.exit("short of the bar")


if __name__ == "__main__":
    main()
