"""``flask etag doctor`` in front of real servers: what it finds has to be what a save really meets."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from flask_etag import ETag
from tests.proxies.test_proxies import (
    MARKING,
    REMEDIED,
    Client,
    Front,
    Reach,
    apache,
    nginx,
    reach,
    site,
    varnish,
)

__all__ = ["reach", "site"]


def examined(client: Client, *options: str) -> Any:
    app = Flask("doctor")
    ETag(app)
    url = f"http://127.0.0.1:{client.port}{client.path}"
    return app.test_cli_runner().invoke(args=["etag", "doctor", url, *options])


@pytest.mark.parametrize("front", (MARKING | REMEDIED).values(), ids=MARKING | REMEDIED)
def test_it_fails_where_a_fresh_save_is_refused(front: Front, reach: Reach) -> None:
    client = reach(front, "strict")
    ran = examined(client)
    # As the doctor asks: a client that takes whatever coding there is.
    client = Client(client.desk, client.path, "gzip, deflate, br, zstd", client.port, client.origin)
    save = client.put(1, if_match=client.get().etag)
    untold = "cannot be told" in ran.output
    assert ran.exit_code in (0, 1), ran.output
    assert (ran.exit_code == 1) == (save.status == 412) or untold, ran.output
    if save.status == 412:
        assert "ETAG_ACCEPT_WEAKENED = True" in ran.output


@pytest.mark.parametrize("front", MARKING.values(), ids=MARKING)
def test_it_is_content_where_marked_tags_are_accepted(front: Front, reach: Reach) -> None:
    ran = examined(reach(front, "accepting"))
    assert ran.exit_code == 0 or "cannot be told" in ran.output, ran.output


@pytest.mark.parametrize(
    ("front", "says"),
    [
        (Front(nginx, ("nginx-gzip",)), ["nginx makes of", "W/", "is refused", "weakened", "map $http_if_match"]),
        (
            Front(apache, ("apache-deflate",)),
            ["Apache makes of", '-gzip"', "DeflateAlterETag NoChange", "in full"],
        ),
        (Front(apache, ("apache-deflate", "apache-remove")), ["wrong  No ETag", "every save is 428"]),
        (Front(varnish, ("varnish-gzip", "varnish-pass")), ["Varnish marks each tag", "weakened", "regsuball"]),
        (Front(nginx, ("nginx-gzip", "nginx-cache")), ["cannot be told", "in full"]),
        (Front(None), ["Flask-Compress makes of", "COMPRESS_MIMETYPES"]),
        (
            Front(nginx, ("nginx-no-json",)),
            ["ok     The tag arrives as it was sent", "ok     An unchanged read is a 304"],
        ),
    ],
)
def test_it_names_who_did_it_and_the_setting_that_cures_it(front: Front, says: list[str], reach: Reach) -> None:
    ran = examined(reach(front, "strict"))
    for words in says:
        assert words in ran.output, ran.output


def test_it_only_reads_and_not_often(reach: Reach) -> None:
    client = reach(MARKING["nginx"], "strict")
    client.desk.answers.clear()
    examined(client, "--origin", "https://app.example.com")
    methods = [method for method, _ in client.desk.answers]
    assert set(methods) == {"GET", "OPTIONS"}
    assert len(methods) <= 8


def test_what_cannot_be_read_is_2(reach: Reach) -> None:
    app = Flask("doctor")
    ETag(app)
    runner = app.test_cli_runner()
    client = reach(MARKING["nginx"], "strict")
    for url, says in (
        ("ftp://host/", "no URL of http or https"),
        ("http://127.0.0.1:1/", "does not answer"),
        (f"http://127.0.0.1:{client.port}/nowhere", "GET is answered 404"),
    ):
        ran = runner.invoke(args=["etag", "doctor", url])
        assert (ran.exit_code, says in ran.output) == (2, True), ran.output
