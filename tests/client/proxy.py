"""A proxy on loopback between a client and a server that does to single requests what networks do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlsplit

Fault = str | int | dict[str, Any]
"""What becomes of one request:

* ``"request lost"``: the connection breaks before the server has it
* ``"answer lost"``: it breaks after the server has answered
* ``500``, ``502``...: the server has answered, and this is said in its place
* ``"weakened"``: the answer's ETag is marked weak, as gzip does it; a refusal's is not
* ``"compressed"``: it is marked weak whatever the answer is
* ``"no content"``: the answer is 204, and has the ETag alone
* ``"behind"``: the server has answered; what the first answer to this method was, is said in its place
* an object: the server does not get the request; the answer is this: ``status``, and ``reason`` or ``headers``
"""


@dataclass
class Proxy:
    """What was asked of it, in order, and what it does.

    :ivar done: the fields of the requests that the server has done, whatever was told of it.

    :ivar faults: by method, what becomes of the first request, of the second, and so on; ``None`` is nothing.
    :ivar closes: whether it ends each connection with its answer. Otherwise browsers send a request again by
        themselves when a connection that they use once more breaks, and tell nobody.
    :ivar rivals: by method and number, from 1, what is done before that request goes on, such as ``("PUT", 1)``.
    """

    url: str
    faults: dict[str, list[Fault | None]] = field(default_factory=dict)
    rivals: dict[tuple[str, int], Callable[[], object]] = field(default_factory=dict)
    closes: bool = False
    always: Callable[[str], Fault | None] = lambda _: None
    requests: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    done: list[Mapping[str, str]] = field(default_factory=list)
    first: dict[str, tuple[int, Mapping[str, str], bytes]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def count(self, method: str) -> int:
        return sum(asked == method for asked, _ in self.requests)

    def next(self, method: str, headers: Mapping[str, str]) -> tuple[Fault | None, Callable[[], object]]:
        with self.lock:
            self.requests.append((method, headers))
            number = self.count(method)
            faults: Sequence[Fault | None] = self.faults.get(method, [])
            fault = faults[number - 1] if number <= len(faults) else self.always(method)
            return fault, self.rivals.get((method, number), lambda: None)


@contextmanager
def between(server: str) -> Iterator[Proxy]:
    """Stand before a server; yield the proxy, whose ``url`` is for the clients."""
    target = urlsplit(server)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or a body waits 40 ms for the acknowledgement of its head

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (ConnectionError, TimeoutError):  # the client is away
                self.close_connection = True

        def pass_on(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault, rival = proxy.next(self.command, dict(self.headers))
            rival()
            if isinstance(fault, dict):
                body = (
                    json.dumps({"reason": fault["reason"], "detail": fault.get("detail", "No.")}).encode()
                    if "reason" in fault
                    else b""
                )
                self.answer(fault["status"], {**fault.get("headers", {})}, body)
                return
            if fault == "request lost":
                self.drop()
                return
            connection = HTTPConnection(target.hostname or "", target.port, timeout=20)
            try:
                connection.request(self.command, self.path, content, dict(self.headers))
                answer = connection.getresponse()
                headers, body = dict(answer.getheaders()), answer.read()
                if answer.status < 300:
                    proxy.done.append(dict(self.headers))
            except (OSError, HTTPException):  # the server has gone away
                self.drop()
                return
            finally:
                connection.close()
            if proxy.count(self.command) == 1:
                proxy.first[self.command] = answer.status, headers, body
            if fault == "answer lost":
                self.drop()
            elif fault == "behind":
                self.answer(*proxy.first[self.command])
            elif fault == "no content":
                self.answer(204, {"ETag": headers["ETag"]}, b"")
            elif isinstance(fault, int):
                self.answer(fault, {}, b"<h1>Bad gateway</h1>")
            else:
                is_weak = fault == "compressed" or (fault == "weakened" and answer.status != 412)
                if is_weak and "ETag" in headers:
                    headers["ETag"] = "W/" + headers["ETag"].removeprefix("W/")
                self.answer(answer.status, headers, body)

        do_GET = do_PUT = do_PATCH = do_DELETE = pass_on  # noqa: N815

        def drop(self) -> None:
            self.close_connection = True

        def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                    self.send_header(name, value)
            if proxy.closes:
                self.send_header("Connection", "close")
            if status not in (204, 304):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    front = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    front.daemon_threads = True
    proxy = Proxy(f"http://127.0.0.1:{front.server_port}")
    thread = Thread(target=front.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield proxy
    finally:
        front.shutdown()
        thread.join()
        front.server_close()
