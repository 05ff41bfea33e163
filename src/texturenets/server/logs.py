"""Standard error as lines of JSON, of which no flood makes very many."""

from __future__ import annotations

import io
import json
import logging
import math
import sys
import time
import traceback

PAUSE = 10.0
"""Seconds in which a message that strangers cause at will is written once."""


class JsonLines(logging.Formatter):
    """A line of JSON a record: `time` (UTC), `level`, `event`, and what else the record has in `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
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


class Lines(logging.StreamHandler):  # type: ignore[type-arg]
    """Standard error; on a full disk there is nowhere to say so."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Go on."""


class Sparing(logging.Filter):
    """Lets one message of a kind through in PAUSE seconds, with the number of those suppressed before."""

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write it."""
        key = (record.name, str(record.msg)[:100])
        now = time.monotonic()
        when, suppressed = self.last.get(key, (-math.inf, 0))
        if now - when < PAUSE:
            self.last[key] = (when, suppressed + 1)
            return False
        if len(self.last) > 100:
            self.last.clear()
        self.last[key] = (now, 0)
        if suppressed:
            record.fields = {**getattr(record, "fields", {}), "suppressed": suppressed}
        return True


class Printed(io.TextIOBase):
    """In place of standard error: what libraries print there, as Gradio does with its errors, as records."""

    LONGEST = 8000

    def __init__(self) -> None:
        self.log = logging.getLogger("texturenets.server.printed")
        self.waiting = ""

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Keep until the line, or the trace, is whole."""
        self.waiting = (self.waiting + text)[-self.LONGEST :]
        last = self.waiting.rstrip("\n").rpartition("\n")[2]
        if text.endswith("\n") and last and not last.startswith((" ", "Traceback ")):
            # One kind for the filter, whatever the text.
            self.log.error("printed", extra={"fields": {"text": self.waiting.strip()}})
            self.waiting = ""
        return len(text)


def log_to_stderr(level: str) -> None:
    """Lines of JSON on standard error, those of the web server, of asyncio and of what libraries print too."""
    handler = Lines(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("texturenets.server", "uvicorn", "uvicorn.error", "asyncio", "texturenets.server.printed"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper())
        if name not in ("texturenets.server", "uvicorn"):
            logger.filters = [Sparing()]
    # What is wrong with a form is told in the line of its request.
    logging.getLogger("python_multipart").handlers = [logging.NullHandler()]
    logging.getLogger("python_multipart").propagate = False
