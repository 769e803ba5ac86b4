"""Any WSGI application on a free port of this machine, in threads of the process that tests it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server


@contextmanager
def serving(app: Any, port: int = 0, handler: type[WSGIRequestHandler] | None = None) -> Iterator[str]:
    """Serve a WSGI application; yield its URL, without a slash at its end.

    :param port: 0 for one that is free.
    :param handler: what answers a request, if not Werkzeug's own.
    """
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
