"""Ray: started on this machine or found, and batches handed to workers by Ray Data. Nothing else imports it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from texturenets.cluster.manifest import Outcome
from texturenets.cluster.worker import PhotoRequest, Worker, WorkerTask
from texturenets.errors import UserError, counted, ignore_pillows_warnings, install

LOCAL: Final = "local"
"""The address for starting Ray on this machine for this run only."""

CONNECT_SECONDS: Final = 10.0
"""Timeout in seconds for connecting to a cluster."""

OBJECT_STORE_BYTES: Final = 128 * 2**20
"""Bytes of Ray's object store on this machine. Ray's minimum is 75 MB."""

NAME_BYTES: Final = 512
"""Bytes of the object store for each photo: file names go through it, images do not."""

FIRST_RESULT_SECONDS: Final = 60.0
"""Seconds without a result after which a note says so."""

MAX_BATCH_PHOTOS: Final = 32
"""Most photos in a batch: at 256 x 256 some seconds of work, so that the cost of scheduling does not matter."""

MAX_BATCH_BYTES: Final = 8 * 2**20
"""Most bytes of photos in a batch: two photos of 12 megapixels."""

RequestBatch = Sequence[PhotoRequest]


def check_installed() -> None:
    """Raise UserError if Ray Data is not installed."""
    if any(find_spec(name) is None for name in ("ray", "pyarrow", "pandas")):
        raise UserError(f"--cluster: Ray Data is not installed; {install('cluster')}")


def cores() -> int:
    """The processor's cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Cluster:
    """A connection to the Ray at `address`, as a context manager: `LOCAL` starts one and ends it."""

    def __init__(self, address: str, photos: int) -> None:
        self.address, self.photos = address, photos
        self._folder: Path | None = None

    def __enter__(self) -> Cluster:
        """Raises UserError if nothing answers at the address."""
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read when it is imported
        if self.address == LOCAL:
            # The switch that gives macOS and Windows a Ray without a network: everything listens on 127.0.0.1.
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
            # Workers as urgent as the user's own programs: by default they come after everything else.
            os.environ.setdefault("RAY_worker_niceness", "0")
            # On a busy machine they start slowly, and after a minute, the default, more and more are started.
            os.environ.setdefault("RAY_worker_register_timeout_seconds", "600")
            # A token only for this process, which keeps its first; by default Ray writes one to the home folder.
            os.environ["RAY_AUTH_MODE"] = "token"
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        else:
            _reach(self.address)
        try:
            self._connect()
        except BaseException as error:
            self.__exit__()
            if not isinstance(error, Exception):
                raise
            problem = "Ray does not start here" if self.address == LOCAL else f"cannot use {self.address}"
            raise UserError(f"--cluster: {problem}: {_first_line(error)}") from error
        return self

    def _connect(self) -> None:
        import ray

        # Ray prints worker deaths and replacements to standard output, where the names of results are printed.
        ray._private.worker._worker_logs_enabled = False
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        if self.address != LOCAL:
            ray.init(self.address, **quiet)
            return
        # Paths of sockets in there must not be longer than 107 bytes.
        base = tempfile.gettempdir() if len(tempfile.gettempdir()) < 20 else "/tmp"
        self._folder = Path(tempfile.mkdtemp(prefix="texturenets-", dir=base))
        ray.init(
            LOCAL,
            num_cpus=cores(),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES + NAME_BYTES * self.photos,
            _temp_dir=str(self._folder),
            **quiet,
        )

    def __exit__(self, *_: object) -> None:
        import ray

        with contextlib.suppress(Exception):
            ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def machines(self) -> list[tuple[int, int]]:
        """(CPU cores, GPUs) of each machine."""
        import ray

        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return [(int(resources.get("CPU", 0)), int(resources.get("GPU", 0))) for resources in alive]

    def run(
        self,
        task: WorkerTask,
        batches: Sequence[RequestBatch],
        workers: int,
        *,
        gpu: bool,
        waiting: Callable[[], None] = lambda: None,
    ) -> Iterator[dict[int, Outcome] | str]:
        """Stylize `batches` with `workers` workers. Yields the outcomes of each finished batch, by photo number, and
        the description of a worker's engine, a string. `waiting` is called if the first minute brings nothing.

        Raises UserError if no worker can load the model, or Ray fails.
        """
        import ray

        # Ray Data runs in a driver process on the cluster, from which this one fetches rows: Ray's client (ray://)
        # cannot stream results. Ray's log output stays there.
        driver_class: Any = ray.remote(num_cpus=0)(_Driver)
        names = zlib.compress(
            json.dumps([[vars(request) for request in batch] for batch in batches]).encode(), 1
        )
        try:
            driver = driver_class.remote(task, names, workers, gpu)
            row = None
            while True:
                next_row = driver.next_row.remote()
                if row is None and not ray.wait([next_row], timeout=FIRST_RESULT_SECONDS)[0]:
                    waiting()
                row, problem = ray.get(next_row)
                if problem:
                    raise UserError(problem)
                if row is None:
                    return
                yield row
        except ray.exceptions.RayError as error:
            raise UserError(f"--cluster: {_first_line(error)}") from error


class _Driver:
    """Runs Ray Data on the cluster and returns its rows one by one."""

    def __init__(self, task: WorkerTask, batches: bytes, workers: int, gpu: bool) -> None:
        self._rows = _rows(task, json.loads(zlib.decompress(batches)), workers, gpu)

    def next_row(self) -> tuple[dict[int, Outcome] | str | None, str]:
        """The next row, None after the last; and an error message, "" if there is none."""
        try:
            return next(self._rows, None), ""
        except UserError as error:
            return None, str(error)


class _Actor:
    """A worker in the form that Ray Data calls: from a table of requests to a table of outcomes."""

    def __init__(self, task: WorkerTask) -> None:
        ignore_pillows_warnings()
        self._worker = Worker(task)

    def __call__(self, table: Any) -> dict[str, list[Any]]:
        rows = [PhotoRequest(**row) for row in table.to_pylist()]
        problem = self._worker.problem
        outcomes = {rows[0].number: Outcome(0, problem)} if problem else self._worker.stylize(rows)
        return {
            "number": list(outcomes),
            "bytes": [outcome.bytes for outcome in outcomes.values()],
            "reason": [outcome.reason for outcome in outcomes.values()],
            "final": [outcome.final for outcome in outcomes.values()],
            "engine": [self._worker.engine] * len(outcomes),
            "fatal": [bool(problem)] * len(outcomes),
        }


def _rows(
    task: WorkerTask, batches: Sequence[Sequence[dict[str, Any]]], workers: int, gpu: bool
) -> Iterator[dict[int, Outcome] | str]:
    """See `Cluster.run`."""
    import pyarrow as pa
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    # Names, never images: a table of a few kilobytes is a block, and a block is a task.
    data = ray.data.from_arrow([pa.Table.from_pylist(batch) for batch in batches]).map_batches(
        _Actor,
        fn_constructor_kwargs={"task": task},
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
        num_cpus=task.engine.threads or 1,
        num_gpus=1 if gpu else None,
    )
    engines: set[str] = set()
    try:
        for table in data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            rows = table.to_pylist()
            for row in rows:
                if row["fatal"]:
                    raise UserError(row["reason"])
                if row["engine"] not in engines:
                    engines.add(row["engine"])
                    yield str(row["engine"])
            yield {row["number"]: Outcome(row["bytes"], row["reason"], row["final"]) for row in rows}
    except ray.exceptions.RayError as error:
        raise UserError(f"--cluster: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (
        lines[-1] if lines and lines[0].startswith("ray::") else lines[0] if lines else type(error).__name__
    )


def _reach(address: str) -> None:
    """Raise UserError if nothing takes a connection at `address` (ray://HOST:PORT, HOST:PORT; auto asks Ray).

    Ray itself would try for minutes, and then end the process.
    """
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(f"--cluster {address} is not an address: give auto, ray://HOST:PORT or HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"--cluster {address}: nothing answers there ({error}); is Ray running?") from None


def divide(
    machines: Sequence[tuple[int, int]], requested: int | None, gpu: bool, most: int
) -> tuple[int, int]:
    """(number of workers, threads of each) for `machines`, (cores, GPUs) each; at most `most` workers have work.

    A worker for each core, or for each GPU with `gpu`, unless `requested` says how many; fewer have more
    threads each, and all of them fit at once. Raises UserError if there are not enough.
    """
    units = sum(gpus if gpu else cpus for cpus, gpus in machines)
    unit = "GPU" if gpu else "core"
    if requested is not None and not 1 <= requested <= units:
        raise UserError(
            f"--workers {requested}: the cluster has {counted(units, unit)}, and a worker needs one at least"
        )
    if not units:
        raise UserError(f"--cluster: there is no {unit} on it")
    workers = min(requested or units, most)
    if gpu:
        return workers, 1
    threads = max(cpus for cpus, _ in machines)
    while sum(cpus // threads for cpus, _ in machines) < workers:
        threads -= 1
    return workers, threads


def batches(requests: Sequence[PhotoRequest], sizes: Sequence[int], workers: int) -> list[RequestBatch]:
    """Divide `requests` into about a dozen batches per worker, of at most `MAX_BATCH_PHOTOS` and `MAX_BATCH_BYTES`.

    `sizes`: bytes of the photos' files. Progress is reported, and work repeated after a worker's death, by batch.
    """
    count = max(1, min(MAX_BATCH_PHOTOS, len(requests) // (12 * workers)))
    groups: list[list[PhotoRequest]] = []
    heavy = 0
    for request, size in zip(requests, sizes, strict=True):
        if not groups or len(groups[-1]) == count or heavy + size > MAX_BATCH_BYTES:
            groups.append([])
            heavy = 0
        groups[-1].append(request)
        heavy += size
    return list(groups)
