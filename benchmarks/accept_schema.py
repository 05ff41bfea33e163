"""Schemathesis over the OpenAPI document: what it says is what is answered, and nothing ends in a 5xx.

    pip install schemathesis                              not part of `make setup`: it is large
    python benchmarks/accept_schema.py [--examples 100]

`--runner` names a schemathesis that lives in another environment; options that are not known here are its own, as
`--phases coverage`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from service import service

# A result has as many pixels as the photo's shape makes of its longer side, which no schema says; so a size that the
# document allows may be refused with 413. Nor does one say which sizes tile: the others are refused with 422. And of
# a body it says that it is bytes, not that they are an image: 415.
CONFIGURATION = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "3xx", 401, 403, 404, 409, 413, 415, 422, 429, "5xx"]
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=100, help="of each operation")
    parser.add_argument("--seed", type=int, default=0)
    beside = Path(sys.executable).with_name("schemathesis")
    parser.add_argument("--runner", default=str(beside) if beside.exists() else shutil.which("schemathesis"))
    options, more = parser.parse_known_args()
    if options.runner is None:
        sys.exit("schemathesis is not installed: pip install schemathesis, or name one with --runner")
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "log"
        (Path(name) / "schemathesis.toml").write_text(CONFIGURATION)
        with service(
            log, "--no-page", "--max-bytes", "1M", "--max-pixels", "250000", "--max-side", "1000"
        ) as running:
            words = ["run", f"{running.address}/openapi.json", "--max-examples", str(options.examples)]
            words += ["--seed", str(options.seed), "--request-timeout", "30", "--workers", "1", *more]
            done = subprocess.run([options.runner, *words], check=False, cwd=name)
        traces = sum('"trace"' in line for line in log.read_text().splitlines())
    print(f"schemathesis ended with {done.returncode}; traces in the log {traces}")
    if done.returncode or traces:
        sys.exit("short of the bar")


if __name__ == "__main__":
    main()
