"""The sample app: its API in process, and over HTTP by the README's own words."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from flask.testing import FlaskClient

from sample_app import create_app
from sample_app.models import db
from tests.conftest import unavailable

ROOT = Path(__file__).parent.parent
POT = {"name": "Blue pot", "description": "It is blue.", "price": "9.90", "stock": 3}
URL = "/api/products/teapot"


@pytest.fixture
def shop(database_url: str) -> Iterator[FlaskClient]:
    shop_app = create_app({"SQLALCHEMY_DATABASE_URI": database_url, "TESTING": True})
    yield shop_app.test_client()
    with shop_app.app_context():
        db.session.remove()
        db.engine.dispose()


def test_a_product_has_exactly_its_members_and_a_long_description(shop: FlaskClient) -> None:
    product = shop.get(URL).json or {}
    assert set(product) == {"sku", "name", "description", "price", "stock", "updated_at"}
    assert product["price"] == "34.50"
    assert len(product["description"].encode()) > 1024


def test_an_unknown_product_is_404(shop: FlaskClient) -> None:
    for send in (shop.get, shop.put):
        answer = send("/api/products/nothing")
        assert answer.status_code == 404
        assert answer.content_type == "application/problem+json"


def test_a_product_is_replaced_and_may_be_sent_back_as_it_was_read(shop: FlaskClient) -> None:
    seen = shop.get(URL)
    answer = shop.put(URL, json={**(seen.json or {}), **POT}, headers={"If-Match": seen.headers["ETag"]})
    assert answer.status_code == 200
    again = shop.get(URL)
    assert answer.json == again.json
    assert answer.headers["ETag"] == again.headers["ETag"]
    assert again.json is not None
    assert {name: again.json[name] for name in POT} == POT
    assert again.json["sku"] == "teapot"
    assert again.json["updated_at"] > (seen.json or {})["updated_at"]


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"price": "NaN"}, "price"),
        ({"price": "-1"}, "price"),
        ({"price": "1e30"}, "price"),
        ({"stock": -1}, "stock"),
        ({"stock": 10**30}, "stock"),
        ({"stock": float("nan")}, "stock"),
        ({"stock": 1.5}, "stock"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_wrong_members_are_422_and_named(shop: FlaskClient, change: dict[str, Any], member: str) -> None:
    before = shop.get(URL)
    answer = shop.put(URL, json={**POT, **change}, headers={"If-Match": before.headers["ETag"]})
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert member in (answer.json or {})["errors"]
    assert shop.get(URL).json == before.json


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        ("{", "application/json", 400),
        ("[]", "application/json", 422),
        ("{}", "text/plain", 415),
        ("[" * 10_000, "application/json", 400),
    ],
)
def test_what_is_no_product_is_refused(shop: FlaskClient, data: str, content_type: str, status: int) -> None:
    etag = shop.get(URL).headers["ETag"]
    answer = shop.put(URL, data=data, content_type=content_type, headers={"If-Match": etag})
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert shop.get(URL).headers["ETag"] == etag


def test_a_second_start_leaves_the_store_as_it_is(shop: FlaskClient) -> None:
    etag = shop.get(URL).headers["ETag"]
    shop.put(URL, json=POT, headers={"If-Match": etag})
    uri = shop.application.config["SQLALCHEMY_DATABASE_URI"]
    again = create_app({"SQLALCHEMY_DATABASE_URI": uri})
    assert (again.test_client().get(URL).json or {})["name"] == "Blue pot"
    with again.app_context():
        db.engine.dispose()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The sample app, started as its own process; yields the URL that it serves."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "FLASK_RUN_PORT": str(port),
        "FLASK_SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'store.db'}",
    }
    command = [sys.executable, "-m", "flask", "--app", "sample_app", "run"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 20
        while True:
            try:
                urlopen(url + URL).close()  # noqa: S310 - the server that was started here
                break
            except OSError:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.1)
        yield url
        process.terminate()


def test_the_readme_s_commands_answer_what_it_says(server: str, tmp_path: Path) -> None:
    if not shutil.which("curl") or not shutil.which("bash"):
        unavailable("curl", "apt-get install curl")
    [console] = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    said = re.findall(r"# (\d\d\d)\b", console)
    script = "\n".join(line.removeprefix("$ ") for line in console.splitlines())
    for _ in range(2):  # what was saved the first time is no obstacle to the second
        ran = subprocess.run(
            ["bash", "-eu"],
            input=script.replace("http://127.0.0.1:5000", server),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        answers = re.findall(r"^HTTP/1\.1 (\d\d\d)", ran.stdout, re.MULTILINE)
        assert answers == said == ["200", "304", "428", "200", "412"]
