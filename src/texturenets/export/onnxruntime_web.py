"""ONNX Runtime Web, which runs networks in browsers: the files of its npm package that a page needs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from texturenets.errors import UserError
from texturenets.files import atomic_write, cache_folder

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"

SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
"""Digest of the npm package's file, onnxruntime-web-1.30.0.tgz."""

WASM = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
WEBGPU = ("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm")
"""Files of the package that run networks on the processor (WebAssembly), and on the GPU (WebGPU)."""

LICENCE = f"""ONNX Runtime Web {VERSION}, in the folder ort/: MIT License, Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def files(package: Path | None = None) -> dict[str, bytes]:
    """{name: contents} of the files `WASM` and `WEBGPU`. `package`: the npm package as a file; by default that in the
    cache, or fetched by npm.

    Raises UserError if there is no npm, and for a file that is not this package.
    """
    path = package or cache_folder() / "npm" / f"{PACKAGE}-{VERSION}.tgz"
    if package is None and not path.is_file():
        _fetch(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise UserError(f"{path} is not the npm package {PACKAGE} {VERSION}: its hash is another")
    with tarfile.open(path) as archive:
        contents = {}
        for name in (*WASM, *WEBGPU):
            member = archive.extractfile(f"package/dist/{name}")
            assert member is not None  # guaranteed by the hash
            contents[name] = member.read()
    return contents


def _fetch(path: Path) -> None:
    npm = shutil.which("npm")
    by_hand = f"fetch it elsewhere with `npm pack {PACKAGE}@{VERSION}` and give the file with `runtime`"
    if npm is None:
        raise UserError(f"the page needs the npm package {PACKAGE}, and npm is not installed: {by_hand}")
    with tempfile.TemporaryDirectory() as folder:
        words = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", folder]
        quiet = {**os.environ, "npm_config_update_notifier": "false"}
        done = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=quiet, check=False)
        tarball = Path(folder) / f"{PACKAGE}-{VERSION}.tgz"
        if done.returncode or not tarball.is_file():
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            reason = lines[0] if lines else f"npm ended with {done.returncode}"
            raise UserError(f"npm could not fetch {PACKAGE} {VERSION} ({reason[:200]}): {by_hand}")
        with atomic_write(path) as part:
            shutil.copyfile(tarball, part)
