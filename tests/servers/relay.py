"""A relay between a port of the loopback interface and a Unix socket: it stands for a virtual address.

Whoever connects to the port reaches the server that the relay points to. It can be pointed to another one: then
the connections that are open break, as they do when an address moves to another machine.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock, Thread


class Relay:
    """A relay.

    :param target: the Unix socket of the server behind it; ``None`` for nobody.
    """

    def __init__(self, target: Path | None) -> None:
        self._target = target
        self._open: set[socket.socket] = set()
        self._lock = Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def point_to(self, target: Path | None) -> None:
        """Break what is open, and lead to another server from now on."""
        with self._lock:
            self._target = target
            broken, self._open = self._open, set()
        for each in broken:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.point_to(None)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        with self._lock:
            try:
                if self._target is None:
                    raise ConnectionRefusedError
                server.connect(str(self._target))
            except OSError:
                client.close()
                server.close()
                return
            self._open |= {client, server}
        for source, sink in ((client, server), (server, client)):
            Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while received := source.recv(65536):
                sink.sendall(received)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._open -= {source, sink}


@contextmanager
def relaying(target: Path) -> Iterator[Relay]:
    """Start a relay to a Unix socket."""
    relay = Relay(target)
    try:
        yield relay
    finally:
        relay.close()
