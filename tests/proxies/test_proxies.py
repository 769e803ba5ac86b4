"""Rule 3.8: what compresses on the way to a client changes tags; each kind is tried in front of a real server.

The settings of the front ends are those that docs/proxies.md recommends, or warns of: they are read from it.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPMessage
from itertools import count
from threading import Thread
from typing import Any

import brotli  # type: ignore[import-untyped]
import pytest
from backports import zstd
from flask import Flask
from flask_compress import Compress
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import WSGIRequestHandler, make_server

from flask_etag import ETag, require_if_match, resource
from tests import ROOT
from tests.proxies.desk import Desk
from tests.servers import proxies, unavailable
from tests.world.racing import WAIT, named

PAGE = ROOT / "docs" / "proxies.md"
SETTINGS = dict(re.findall(r"^<!-- ([a-z-]+) -->\n```\w+\n(.+?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE))
DECOMPRESS = {"gzip": gzip.decompress, "br": brotli.decompress, "zstd": zstd.decompress, None: bytes}
WEAK = 'W/"{}"'

Start = Callable[[str, int], AbstractContextManager[int]]


class Quiet(WSGIRequestHandler):
    def log(self, *args: Any) -> None:
        pass


@dataclass(frozen=True)
class Site:
    """The applications behind all front ends, by their names, and the port of their server."""

    desks: dict[str, Desk]
    port: int


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    desks = {}
    for compressed in ("", "compressed-"):
        for accept, name in ((False, "strict"), (True, "accepting")):
            desk = desks[compressed + name] = Desk(ETAG_ACCEPT_WEAKENED=accept)
            if compressed:
                Compress(desk.app)
    mounts: Any = {f"/api/{name}": desk.app for name, desk in desks.items()}
    server = make_server(
        "127.0.0.1", 0, DispatcherMiddleware(Flask("none"), mounts), threaded=True, request_handler=Quiet
    )
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield Site(desks, server.port)
    server.shutdown()
    thread.join(WAIT)
    server.server_close()


@dataclass(frozen=True)
class Front:
    """What is between client and application: a program with settings of the page, or Flask-Compress.

    :param mark: what it makes of a tag, ``{}`` being the opaque part.
    :param coding: what it compresses with, or ``None`` where it is told to leave JSON alone.
    :param kind: the kind of resource that it is tried with.
    """

    start: Start | None
    settings: tuple[str, ...] = ()
    mark: str = '"{}"'
    coding: str | None = "gzip"
    kind: str = "papers"


nginx, apache, varnish = proxies.nginx, proxies.apache, proxies.varnish

MARKING = {
    "nginx": Front(nginx, ("nginx-gzip",), WEAK),
    "nginx-cache": Front(nginx, ("nginx-gzip", "nginx-cache"), WEAK, kind="posters"),
    "apache": Front(apache, ("apache-deflate",), '"{}-gzip"'),
    "apache-variant": Front(apache, ("apache-deflate",), '"{}-gzip"', kind="posters"),
    "apache-brotli": Front(apache, ("apache-brotli",), '"{}-br"', "br"),
    "varnish": Front(varnish, ("varnish-gzip", "varnish-pass"), WEAK),
    "varnish-keep": Front(varnish, ("varnish-gzip", "varnish-keep"), WEAK, kind="posters"),
    "flask-compress": Front(None, mark='"{}:gzip"'),
    "flask-compress-variant": Front(None, mark='"{}:gzip"', kind="posters"),
    "flask-compress-br": Front(None, mark='"{}:br"', coding="br"),
    "flask-compress-zstd": Front(None, mark='"{}:zstd"', coding="zstd"),
}
"""What makes another tag of ours."""

REMEDIED = {
    "nginx-restore": Front(nginx, ("nginx-gzip", "nginx-restore"), WEAK),
    "nginx-cache-restore": Front(nginx, ("nginx-gzip", "nginx-cache", "nginx-restore"), WEAK, kind="posters"),
    "nginx-no-json": Front(nginx, ("nginx-no-json",), coding=None),
    "apache-restore": Front(apache, ("apache-deflate", "apache-restore"), '"{}-gzip"'),
    "apache-variant-restore": Front(apache, ("apache-deflate", "apache-restore"), '"{}-gzip"', kind="posters"),
    "apache-brotli-restore": Front(apache, ("apache-brotli", "apache-restore"), '"{}-br"', "br"),
    "apache-no-change": Front(apache, ("apache-deflate", "apache-no-change")),
    "apache-brotli-no-change": Front(apache, ("apache-brotli", "apache-no-change"), coding="br"),
    "apache-no-gzip": Front(apache, ("apache-deflate", "apache-no-gzip"), coding=None),
    "apache-no-brotli": Front(apache, ("apache-brotli", "apache-no-gzip"), coding=None),
    "varnish-restore": Front(varnish, ("varnish-gzip", "varnish-restore", "varnish-pass"), WEAK),
    "varnish-keep-restore": Front(
        varnish, ("varnish-gzip", "varnish-restore", "varnish-keep"), WEAK, kind="posters"
    ),
    "varnish-no-gzip": Front(varnish, ("varnish-pass",), coding=None),
}
"""What does not, or takes it back."""

HARMLESS = [
    *(pytest.param(front, "accepting", id=f"{name}-accepting") for name, front in (MARKING | REMEDIED).items()),
    *(pytest.param(front, "strict", id=f"{name}-strict") for name, front in REMEDIED.items()),
]
"""Every front end where the setting is on, and those where it need not be."""

harmless = pytest.mark.parametrize(("front", "setting"), HARMLESS)
marking = pytest.mark.parametrize("front", MARKING.values(), ids=MARKING)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: HTTPMessage
    content: bytes

    @property
    def etag(self) -> str:
        return self.headers["ETag"]

    @property
    def json(self) -> Any:
        return json.loads(DECOMPRESS[self.headers["Content-Encoding"]](self.content))


@dataclass(frozen=True)
class Client:
    """Who asks for one paper or poster, through a front end or, to know better, past it."""

    desk: Desk
    path: str
    coding: str
    port: int
    origin: int

    def get(self, *, past: bool = False, **headers: str) -> Answer:
        return self._send("GET", None, headers, past)

    def put(self, edits: int, *, past: bool = False, **headers: str) -> Answer:
        return self._send("PUT", json.dumps(edits).encode(), headers, past)

    def _send(self, method: str, body: bytes | None, headers: dict[str, str], past: bool) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.origin if past else self.port, timeout=WAIT)
        sent = {"Accept-Encoding": "identity" if past else self.coding, "Content-Type": "application/json"}
        connection.request(method, self.path, body, sent | named(headers))
        with connection.getresponse() as response:
            answer = Answer(response.status, response.headers, response.read())
        connection.close()
        return answer

    def changed_by_another(self) -> None:
        assert self.put(1000, past=True, if_match="*").status == 200

    def edits(self) -> int:
        return int(self.get(past=True).json["edits"])

    def asked(self, send: Callable[[], Answer]) -> tuple[Answer, list[tuple[str, int]], int]:
        """Return an answer, what the application answered meanwhile, and how often a view of it ran."""
        self.desk.answers.clear()
        views = self.desk.views
        return send(), list(self.desk.answers), self.desk.views - views


Reach = Callable[[Front, str], Client]


@pytest.fixture(scope="module")
def reach(site: Site) -> Iterator[Reach]:
    """A function that returns a client of a paper of its own behind a front end, which it starts once."""
    ports: dict[tuple[Start, str], int] = {}
    number = count()
    with ExitStack() as running:

        def client(front: Front, setting: str) -> Client:
            port = site.port
            if front.start is None:
                setting = f"compressed-{setting}"
            else:
                key = front.start, "".join(SETTINGS[name] for name in front.settings)
                try:
                    port = ports[key] if key in ports else running.enter_context(front.start(key[1], site.port))
                except proxies.FrontEndMissingError as error:
                    unavailable(str(error), "apt-get install nginx apache2-bin varnish")
                ports[key] = port
            path = f"/api/{setting}/{front.kind}/{next(number)}"
            return Client(site.desks[setting], path, front.coding or "gzip", port, site.port)

        yield client


def test_every_setting_of_the_page_is_tried() -> None:
    tried = {name for front in (MARKING | REMEDIED).values() for name in front.settings}
    assert set(SETTINGS) == tried | {"apache-remove"}


@pytest.mark.parametrize("front", (MARKING | REMEDIED).values(), ids=MARKING | REMEDIED)
def test_the_answer_is_compressed_and_its_tag_marked(front: Front, reach: Reach) -> None:
    client = reach(front, "strict")
    whole = client.get(past=True)
    answer = client.get()
    assert answer.headers["Content-Encoding"] == front.coding
    assert answer.json == whole.json
    assert answer.etag == front.mark.format(whole.etag.strip('"'))


@harmless
def test_every_unchanged_read_is_a_304_of_the_application(front: Front, setting: str, reach: Reach) -> None:
    client = reach(front, setting)
    etag = client.get().etag
    for _ in range(2):
        answer, answers, views = client.asked(partial(client.get, if_none_match=etag))
        assert (answer.status, answer.content) == (304, b"")
        assert (answers, views) == ([("GET", 304)], 0)
        etag = answer.etag  # which a client may keep in the place of its own


@harmless
def test_a_changed_read_is_answered_in_full(front: Front, setting: str, reach: Reach) -> None:
    client = reach(front, setting)
    old = client.get().etag
    client.changed_by_another()
    answer = client.get(if_none_match=old)
    assert answer.status == 200
    assert answer.json["edits"] == 1000
    assert answer.etag != old
    assert client.get(if_none_match=answer.etag).status == 304


@harmless
def test_every_fresh_put_passes(front: Front, setting: str, reach: Reach) -> None:
    client = reach(front, setting)
    etag = client.get().etag
    for edits in (1, 2):  # the second with the tag that the answer to the first gave
        answer = client.put(edits, if_match=etag)
        assert answer.status == 200
        assert answer.json["edits"] == client.edits() == edits
        assert answer.headers["Content-Encoding"] == front.coding
        etag = answer.etag
    etag = client.get(if_none_match=etag).etag  # and the third with the one of a 304
    assert client.put(3, if_match=etag).status == 200


@harmless
def test_every_stale_put_is_refused(front: Front, setting: str, reach: Reach) -> None:
    client = reach(front, setting)
    stale = client.get().etag
    client.changed_by_another()
    answer = client.put(1, if_match=stale)
    assert answer.status == 412
    assert answer.json["reason"] == "stale"
    assert client.put(1, if_match=stale).status == 412
    assert client.edits() == 1000


@harmless
def test_1_6_an_if_match_of_no_tags_is_never_lost_on_the_way(front: Front, setting: str, reach: Reach) -> None:
    client = reach(front, setting)
    # nginx drops a field that a setting leaves empty: then it is as if it had not been sent.
    restored = {"nginx-restore"} & set(front.settings)
    assert client.put(1, if_match="").status == (428 if restored else 412)
    assert client.put(1).status == 428
    assert client.edits() == 0


@marking
def test_a_strict_412_says_why_and_its_own_tag_is_good(front: Front, reach: Reach) -> None:
    client = reach(front, "strict")
    given = client.get().etag
    refused = client.put(1, if_match=given)
    assert refused.status == 412
    assert refused.json["reason"] == "weakened"
    for word in ("proxy", "compresses", "repeat the request", "If-Match"):
        assert word in refused.json["detail"]
    assert client.edits() == 0
    assert client.put(1, if_match=refused.json["etag"]).status == 200


@marking
def test_a_strict_412_never_takes_a_stale_tag_for_a_weakened_one(front: Front, reach: Reach) -> None:
    client = reach(front, "strict")
    stale = client.get().etag
    client.changed_by_another()
    assert client.put(1, if_match=stale).json["reason"] == "stale"


@marking
def test_a_strict_save_wants_the_tag_of_an_uncompressed_answer(front: Front, reach: Reach) -> None:
    client = reach(front, "strict")
    answer = client.get(accept_encoding="identity")
    assert "Content-Encoding" not in answer.headers
    # Varnish unpacks what it has packed, and the tag stays marked.
    marked = front.start is varnish
    assert answer.etag.startswith("W/") == marked
    assert client.put(1, if_match=answer.etag).status == (412 if marked else 200)


@marking
def test_a_strict_read_with_a_marked_tag(front: Front, reach: Reach) -> None:
    client = reach(front, "strict")
    etag = client.get().etag
    answer, answers, views = client.asked(lambda: client.get(if_none_match=etag))
    if front.mark == WEAK:  # If-None-Match is compared weakly
        assert (answer.status, answers, views) == (304, [("GET", 304)], 0)
    elif front.start is None:  # Flask-Compress compares again, with its own tag
        assert (answer.status, views) == (304, 1)
    else:
        assert (answer.status, views) == (200, 1)


def test_apache_that_removes_tags_leaves_nothing_to_save_with(reach: Reach) -> None:
    client = reach(Front(apache, ("apache-deflate", "apache-remove")), "accepting")
    answer = client.get()
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "ETag" not in answer.headers
    assert client.put(1).status == 428


def test_a_cache_of_nginx_keeps_conditions_from_what_it_may_not_store(reach: Reach) -> None:
    client = reach(Front(nginx, ("nginx-gzip", "nginx-cache")), "accepting")
    etag = client.get().etag
    answer, answers, _views = client.asked(lambda: client.get(if_none_match=etag))
    assert (answer.status, answers) == (200, [("GET", 200)])


def test_varnish_keeps_conditions_from_what_it_might_store(reach: Reach) -> None:
    client = reach(Front(varnish, ("varnish-gzip",)), "accepting")
    etag = client.get().etag
    answer, answers, views = client.asked(lambda: client.get(if_none_match=etag))
    assert (answer.status, answers, views) == (304, [("GET", 200)], 1)


def test_a_text_of_the_applications_own_has_no_length_that_tells_a_suffix() -> None:
    app = Flask("own")
    app.config["ETAG_ACCEPT_WEAKENED"] = True
    ETag(app)
    own = resource(etag=lambda text: text)(lambda: "v1")
    app.put("/")(require_if_match(own)(lambda text: text))
    for etag, status in (('W/"v1"', 200), ('"v1-gzip"', 412)):
        assert app.test_client().put("/", headers={"If-Match": etag}).status_code == status
