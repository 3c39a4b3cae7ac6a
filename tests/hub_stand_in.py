"""The part of the Hugging Face hub's HTTP API that tickets use, on loopback, and its bad days."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_stand_in"
Files = dict[str, bytes]


@dataclass
class Repository:
    private: bool
    commits: dict[str, Files] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: Files) -> str:
        whole = {**self.commits.get(self.heads.get(branch, ""), {}), **files}
        name = hashlib.sha1(f"{len(self.commits)}{branch}".encode()).hexdigest()
        self.commits[name] = whole
        self.heads[branch] = name
        return name

    def at(self, revision: str) -> str | None:
        return self.heads.get(revision) or (revision if revision in self.commits else None)


@dataclass
class Hub:
    """What the hub holds, what it was asked, and what it does wrong."""

    endpoint: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    status: int = 0
    """Answer everything with this status."""
    delay: float = 0.0
    """Seconds before each answer."""
    drip: float = 0.0
    """Seconds between two bytes of a file."""
    served: Files = field(default_factory=dict)
    """Name -> bytes that are served in place of a file's own."""
    listed: dict[str, int] = field(default_factory=dict)
    """Name -> size that is listed in place of a file's own."""
    stored: Files = field(default_factory=dict)
    """Name -> bytes that are stored in place of those sent."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers of files in place of their own."""
    endless: bool = False
    """Serve files without a length and without an end."""

    def repository(self, name: str, files: Files, *, private: bool = False) -> Repository:
        found = self.repositories[name] = Repository(private)
        found.commit("main", files)
        return found

    def files(self, name: str, revision: str = "main") -> Files:
        found = self.repositories[name]
        commit = found.at(revision)
        assert commit is not None
        return found.commits[commit]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        Event().wait(self.hub.delay)
        try:
            if self.hub.status:
                self.reply(self.hub.status, {"error": "a bad day"})
            elif "/resolve/" in path:
                self.file(path)
            else:
                self.api(path.removeprefix("/api/").split("/"), body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def api(self, path: list[str], body: bytes) -> None:
        match path:
            case ["validate-yaml"]:
                self.reply(200, {"errors": [], "warnings": []})
            case ["repos", "create"]:
                self.create(json.loads(body))
            case ["models", owner, name]:
                self.info(f"{owner}/{name}", "main")
            case ["models", owner, name, "revision", revision]:
                self.info(f"{owner}/{name}", revision)
            case ["models", owner, name, verb, *branch]:
                self.change(f"{owner}/{name}", verb, "/".join(branch), body)
            case _:
                self.reply(404, {"error": f"no {path}"})

    def create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.reply(401, {"error": "Invalid username or password."})
        elif name in self.hub.repositories:
            about = {"error": "You already created this model repo"}
            self.reply(409, {**about, "url": f"{self.hub.endpoint}/{name}"})
        else:
            self.hub.repositories[name] = Repository(asked.get("visibility") == "private")
            self.hub.repositories[name].commit("main", {".gitattributes": b"\n"})
            self.reply(200, {"url": f"{self.hub.endpoint}/{name}"})

    def visible(self, name: str) -> Repository | None:
        found = self.hub.repositories.get(name)
        if found is None or (
            found.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"
        ):
            self.reply(401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return None
        return found

    def info(self, name: str, revision: str) -> None:
        if (found := self.visible(name)) is None:
            return
        if (commit := found.at(revision)) is None:
            self.reply(404, {"error": "none"}, {"X-Error-Code": "RevisionNotFound"})
            return
        siblings = [
            {
                "rfilename": file,
                "size": self.hub.listed.get(file, len(content)),
                "blobId": git_blob(content),
            }
            for file, content in found.commits[commit].items()
        ]
        about = {"id": name, "modelId": name, "sha": commit, "private": found.private}
        self.reply(200, {**about, "siblings": siblings, "tags": [], "downloads": 0})

    def change(self, name: str, verb: str, branch: str, body: bytes) -> None:
        if (found := self.visible(name)) is None:
            return
        if verb == "branch":
            taken = branch in found.heads
            found.heads.setdefault(branch, found.heads["main"])
            self.reply(409 if taken else 200, {})
        elif verb == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self.reply(200, {"files": files})
        else:
            lines = [json.loads(line)["value"] for line in body.splitlines()][1:]
            files_sent = {one["path"]: base64.b64decode(one["content"]) for one in lines}
            commit = found.commit(branch, {**files_sent, **self.hub.stored})
            address = f"{self.hub.endpoint}/{name}/commit/{commit}"
            self.reply(200, {"commitUrl": address, "commitOid": commit})

    def file(self, path: str) -> None:
        name, _, rest = path.strip("/").partition("/resolve/")
        revision, _, file = rest.partition("/")
        if (found := self.visible(name)) is None:
            return
        commit = found.at(revision)
        if commit is None or file not in found.commits[commit]:
            self.reply(404, {"error": "none"}, {"X-Error-Code": "EntryNotFound"})
            return
        own = found.commits[commit][file]
        content = self.hub.served.get(file, own)
        self.send_response(200)
        about = {"X-Repo-Commit": commit, "ETag": f'"{git_blob(own)}"', **self.hub.headers}
        for header, value in about.items():
            self.send_header(header, value)
        if self.hub.endless and self.command == "GET":
            self.send_header("Connection", "close")
            self.end_headers()
            while True:
                self.wfile.write(bytes(1 << 20))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if not self.hub.drip:
            self.wfile.write(content)
            return
        for place in range(len(content)):
            self.wfile.write(content[place : place + 1])
            Event().wait(self.hub.drip)

    def reply(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that listens for as long as the context lasts."""
    hub = Hub()
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.block_on_close = False
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
