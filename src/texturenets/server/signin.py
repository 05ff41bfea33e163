"""The page that asks browsers for the token, and how often it may be guessed."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque

AT = "/sign-in"

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
<form method=post action="AT"><h1>texturenets</h1>SAID
<label for=token>Token of this service</label>
<input id=token name=token type=password autocomplete=current-password required autofocus>
<button>Sign in</button></form></html>"""

LONGEST = 4096
"""Bytes of the form's body."""


def page(*, wrong: bool) -> bytes:
    """The form; `wrong`: after a token that was not the right one."""
    said = "<p>That is not its token.</p>" if wrong else ""
    return _PAGE.replace("AT", AT, 1).replace("SAID", said).encode()


class Attempts:
    """Wrong tokens of late, by who sent them: TRIES in MINUTE seconds, and then no more for a while."""

    TRIES, MINUTE, KNOWN = 10, 60.0, 1000

    def __init__(self) -> None:
        self.by: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, who: str) -> int:
        """Seconds until that one may try again; 0 for now."""
        times = self.by.get(who)
        if times is None or len(times) < self.TRIES:
            return 0
        return max(0, math.ceil(times[0] + self.MINUTE - time.monotonic()))

    def add(self, who: str) -> None:
        """A wrong one."""
        self.by.setdefault(who, deque(maxlen=self.TRIES)).append(time.monotonic())
        self.by.move_to_end(who)
        if len(self.by) > self.KNOWN:
            self.by.popitem(last=False)
