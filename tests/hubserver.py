"""A server on this machine that speaks as much of the Hub's interface as downloads and uploads of models take."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

TOKEN = "hf_of_the_tests"


@dataclass
class Repo:
    """Branches and tags by name, and what each commit holds."""

    private: bool = False
    gated: bool = False
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], branch: str = "main", tag: str | None = None) -> str:
        """Write `files` over those of the branch; the new commit."""
        held = {**self.commits.get(self.refs.get(branch, ""), {}), **files}
        key = hashlib.sha1(repr((branch, len(self.commits), sorted(held))).encode()).hexdigest()
        self.commits[key] = held
        self.refs[branch] = key
        if tag:
            self.refs[tag] = key
        return key

    def at(self, revision: str) -> str | None:
        """The commit that a revision names."""
        return self.refs.get(revision, revision if revision in self.commits else None)


class Hub:
    """Repositories by name; `asked`: requests, as "GET /path"; `strays`: those that it does not know."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.asked: list[str] = []
        self.strays: list[str] = []
        self.commits: list[dict[str, Any]] = []
        self.address = ""
        self.broken = False
        self.may_write = True

    def repo(self, name: str, files: dict[str, bytes], **options: Any) -> Repo:
        """A repository with one commit."""
        self.repos[name] = Repo(**options)
        self.repos[name].commit(files)
        return self.repos[name]


class Refusal(Exception):  # noqa: N818
    """Status and code of an error, as the Hub has them."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(status, code, message)


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_GET  # noqa: N815  so http.server calls them

    def _answer(self) -> None:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.hub.asked.append(f"{self.command} {url.path}")
        try:
            if self.hub.broken:
                raise Refusal(503, message="maintenance")
            if self.headers.get("authorization") not in (None, f"Bearer {TOKEN}"):
                raise Refusal(401, message="Invalid credentials in Authorization header")
            parts = [unquote(part) for part in url.path.strip("/").split("/")]
            self._send(*self._found(parts, parse_qs(url.query), body))
        except Refusal as error:
            status, code, message = error.args
            headers = {"X-Error-Code": code, "X-Error-Message": message}
            self._send(b"", {key: value for key, value in headers.items() if value}, status)

    def _send(self, data: bytes, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _found(
        self, parts: list[str], query: dict[str, list[str]], body: bytes
    ) -> tuple[bytes, dict[str, str]]:
        if len(parts) >= 5 and parts[2] == "resolve":
            return self._file(parts)
        known = {
            ("GET", "models"): self._models,
            ("POST", "models"): self._write,
            ("POST", "repos"): self._create,
            ("POST", "validate-yaml"): self._yaml,
        }.get((self.command, parts[1] if parts[0] == "api" and len(parts) > 1 else ""))
        answer = known(parts[2:], query, body) if known else None
        if answer is None:
            self.hub.strays.append(f"{self.command} {self.path}")
            raise Refusal(404)
        return json.dumps(answer).encode(), {"Content-Type": "application/json"}

    def _repo(self, name: str) -> Repo:
        repo = self.hub.repos.get(name)
        signed = "authorization" in self.headers
        if repo is None or (repo.private and not signed):
            raise Refusal(404 if signed else 401, "RepoNotFound", "Repository not found")
        return repo

    def _commit(self, repo: Repo, revision: str) -> str:
        commit = repo.at(revision)
        if commit is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def _file(self, parts: list[str]) -> tuple[bytes, dict[str, str]]:
        repo = self._repo("/".join(parts[:2]))
        if repo.gated:
            raise Refusal(403, "GatedRepo", "Access to model is restricted")
        commit, name = self._commit(repo, parts[3]), "/".join(parts[4:])
        if name not in repo.commits[commit]:
            raise Refusal(404, "EntryNotFound", "Entry not found")
        data = repo.commits[commit][name]
        return data, {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}

    def _models(self, parts: list[str], query: dict[str, list[str]], _: bytes) -> Any:
        if not parts:
            author = query["author"][0]
            return [{"id": name} for name in self.hub.repos if name.startswith(f"{author}/")]
        name = "/".join(parts[:2])
        repo = self._repo(name)
        verb, rest = (parts[2], parts[3:]) if len(parts) > 2 else ("revision", ["main"])
        if verb == "refs":
            branches = [
                {"name": ref, "ref": f"refs/heads/{ref}", "targetCommit": commit}
                for ref, commit in repo.refs.items()
            ]
            return {"branches": branches, "converts": [], "tags": []}
        commit = self._commit(repo, rest[0])
        files = repo.commits[commit]
        if verb == "revision":
            siblings = [{"rfilename": file} for file in files]
            return {"id": name, "sha": commit, "private": repo.private, "siblings": siblings}
        return None

    def _write(self, parts: list[str], _: dict[str, list[str]], body: bytes) -> Any:
        name, verb = "/".join(parts[:2]), parts[2]
        repo = self._repo(name)
        if not self.hub.may_write:
            raise Refusal(403, message="write access is needed")
        if verb == "branch":
            if parts[3] in repo.refs:
                raise Refusal(409)
            repo.refs[parts[3]] = repo.refs["main"]
            return {}
        if verb == "preupload":
            held = repo.commits[self._commit(repo, parts[3])]
            files = [file["path"] for file in json.loads(body)["files"]]
            return {"files": [_mode(file, held.get(file)) for file in files]}
        if verb == "commit":
            lines = [json.loads(line) for line in body.decode().splitlines()]
            added = {
                line["value"]["path"]: base64.b64decode(line["value"]["content"])
                for line in lines
                if line["key"] == "file"
            }
            summary = next(line["value"]["summary"] for line in lines if line["key"] == "header")
            key = repo.commit(added, parts[3])
            self.hub.commits.append({"repo": name, "branch": parts[3], "files": added, "summary": summary})
            return {
                "success": True,
                "commitOid": key,
                "commitUrl": f"{self.hub.address}/{name}/commit/{key}",
                "hookOutput": "",
            }
        return None

    def _create(self, _: list[str], __: dict[str, list[str]], body: bytes) -> Any:
        if not self.hub.may_write:
            raise Refusal(403, message="write access is needed")
        asked = json.loads(body)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        hidden = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.hub.repo(name, {".gitattributes": b""}, private=hidden)
        return {"url": f"{self.hub.address}/{name}", "name": name, "id": name}

    def _yaml(self, _: list[str], __: dict[str, list[str]], body: bytes) -> Any:
        text = json.loads(body)["content"]
        return {"errors": [] if text.startswith("---\n") else [{"message": "none"}], "warnings": []}


def _mode(path: str, held: bytes | None) -> dict[str, Any]:
    blob = None if held is None else hashlib.sha1(b"blob %d\0" % len(held) + held).hexdigest()
    return {"path": path, "uploadMode": "regular", "shouldIgnore": False, "oid": blob}


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[Hub]:
    """A hub that huggingface_hub asks in place of the real one, with a cache of its own in `home`."""
    from huggingface_hub import constants

    hub = Hub()
    handler = type("OfThisHub", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_HOME", str(home))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    # The library has read its variables when it was imported, perhaps by another test.
    _point_at(hub.address, monkeypatch)
    monkeypatch.setattr(socket, "getaddrinfo", _no_other_host(hub, socket.getaddrinfo))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(home / "stored_tokens"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
    assert not hub.strays


def stop(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on nobody answers."""
    _point_at("http://127.0.0.1:9", monkeypatch)
    hub.asked.clear()


def _point_at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable, and what the library has made of it."""
    from huggingface_hub import constants

    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def _no_other_host(hub: Hub, resolve: Any) -> Any:
    """`socket.getaddrinfo` that knows this machine alone."""

    def local(host: Any, *more: Any, **others: Any) -> Any:
        if host not in ("127.0.0.1", b"127.0.0.1"):
            hub.strays.append(f"host {host}")
            raise OSError(f"the tests ask no other host: {host}")
        return resolve(host, *more, **others)

    return local
