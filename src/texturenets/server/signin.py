"""The sign-in form, by which browsers send the token, and the rate limit on wrong tokens."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque

PATH = "/sign-in"

_PAGE = """<!doctype html><html lang=en><meta charset=utf-8><title>texturenets</title>
<meta name=viewport content="width=device-width, initial-scale=1">
<style>
body { font: 1rem/1.5 ui-sans-serif, system-ui, sans-serif; background: #faf8f4; color: #2c2824; margin: 0;
  min-height: 100vh; display: grid; place-items: center }
form { background: #fff; border: 1px solid #e6e0d5; border-radius: 16px; padding: 2rem; width: min(20rem, 80vw) }
h1 { font-size: 1.4rem; margin: 0 0 1rem }
label { display: block; margin-bottom: .4rem; color: #5d554b }
input, button { font: inherit; width: 100%; box-sizing: border-box; padding: .6rem .8rem; border-radius: 10px }
input { border: 1px solid #d2c9ba; margin-bottom: 1rem }
button { border: 0; background: #216b67; color: #fff; font-weight: 600; cursor: pointer }
p { color: #b3261e; margin: 0 0 1rem }
@media (prefers-color-scheme: dark) {
  body { background: #131110; color: #f3efe8 } form { background: #1d1a18; border-color: #2c2824 }
  label { color: #a79c8b } input { background: #2c2824; color: inherit; border-color: #453f38 } p { color: #f2938c }
}
</style>
<form method=post action="PATH"><h1>texturenets</h1>MESSAGE
<label for=token>Token of this service</label>
<input id=token name=token type=password autocomplete=current-password required autofocus>
<button>Sign in</button></form></html>"""

MAX_FORM_BYTES = 4096
"""Most bytes of the submitted form."""


def page(*, wrong: bool) -> bytes:
    """The form; `wrong`: with a message that the token sent before was wrong."""
    message = "<p>The token is wrong.</p>" if wrong else ""
    return _PAGE.replace("PATH", PATH, 1).replace("MESSAGE", message).encode()


class Attempts:
    """Recent wrong tokens by client address: a client may send MAX_TRIES of them in WINDOW_SECONDS."""

    MAX_TRIES, WINDOW_SECONDS, MAX_CLIENTS = 10, 60.0, 1000

    def __init__(self) -> None:
        self.times: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, client: str) -> int:
        """Seconds until the client may try again; 0 if it may now."""
        times = self.times.get(client)
        if times is None or len(times) < self.MAX_TRIES:
            return 0
        return max(0, math.ceil(times[0] + self.WINDOW_SECONDS - time.monotonic()))

    def add(self, client: str) -> None:
        """Count a wrong token."""
        self.times.setdefault(client, deque(maxlen=self.MAX_TRIES)).append(time.monotonic())
        self.times.move_to_end(client)
        if len(self.times) > self.MAX_CLIENTS:
            self.times.popitem(last=False)
