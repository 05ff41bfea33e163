"""The log on standard error: one JSON object a line, repeated errors limited in rate."""

from __future__ import annotations

import io
import json
import logging
import math
import sys
import time
import traceback

REPEAT_SECONDS = 10.0
"""A message that clients can cause at will is written at most once in this many seconds."""


class JsonLines(logging.Formatter):
    """Formats a record as a JSON object: `time` (UTC), `level`, `event`, and the record's `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        data = {
            "time": f"{when}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            data["trace"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(data, ensure_ascii=False, default=str)


class QuietStreamHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """A stream handler that ignores write errors, as on a full disk: they could not be logged either."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Ignore the error."""


class RateLimit(logging.Filter):
    """Passes a message once in REPEAT_SECONDS, with the number of repetitions suppressed before."""

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the record."""
        key = (record.name, str(record.msg)[:100])
        now = time.monotonic()
        when, suppressed = self.last.get(key, (-math.inf, 0))
        if now - when < REPEAT_SECONDS:
            self.last[key] = (when, suppressed + 1)
            return False
        if len(self.last) > 100:
            self.last.clear()
        self.last[key] = (now, 0)
        if suppressed:
            record.fields = {**getattr(record, "fields", {}), "suppressed": suppressed}
        return True


class StderrToLog(io.TextIOBase):
    """Replaces sys.stderr: logs what libraries print there, such as Gradio's tracebacks."""

    MAX_CHARACTERS = 8000

    def __init__(self) -> None:
        self.log = logging.getLogger("texturenets.server.printed")
        self.buffer = ""

    def writable(self) -> bool:
        """True, as for sys.stderr."""
        return True

    def write(self, text: str) -> int:
        """Buffer `text` until the line, or the traceback, is complete; then log it."""
        self.buffer = (self.buffer + text)[-self.MAX_CHARACTERS :]
        last = self.buffer.rstrip("\n").rpartition("\n")[2]
        if text.endswith("\n") and last and not last.startswith((" ", "Traceback ")):
            # The text goes into a field, so that RateLimit counts all of them as one message.
            self.log.error("printed", extra={"fields": {"text": self.buffer.strip()}})
            self.buffer = ""
        return len(text)


def log_to_stderr(level: str) -> None:
    """Log to standard error as JSON: this service, uvicorn, asyncio, and what libraries print (`StderrToLog`)."""
    handler = QuietStreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("texturenets.server", "uvicorn", "uvicorn.error", "asyncio", "texturenets.server.printed"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper())
        if name not in ("texturenets.server", "uvicorn"):
            logger.filters = [RateLimit()]
    # Errors in a form are logged with its request.
    logging.getLogger("python_multipart").handlers = [logging.NullHandler()]
    logging.getLogger("python_multipart").propagate = False
