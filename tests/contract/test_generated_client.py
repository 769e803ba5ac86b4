"""A client that openapi-python-client generates from the sample app's document reads, saves, gets a typed 412."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from werkzeug.serving import make_server

from sample_app import create_app


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file = tmp_path_factory.mktemp("shop") / "store.db"
    server = make_server(
        "127.0.0.1", 0, create_app({"SQLALCHEMY_DATABASE_URI": f"sqlite:///{file}"}), threaded=True
    )
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/api"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the package ``shop_client``, from where it can be imported."""
    folder = tmp_path_factory.mktemp("generated")
    document = create_app({"SQLALCHEMY_DATABASE_URI": "sqlite://"}).test_client().get("/api/openapi.json").json
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "config.yaml").write_text("post_hooks: []\n")  # by default, it formats what it has generated
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    options = ["--path", "openapi.json", "--output-path", "shop_client", "--config", "config.yaml"]
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, check=True)
    assert "warning" not in (done.stdout + done.stderr).lower(), done.stdout
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def test_it_reads_saves_and_gets_a_typed_412(folder: Path, url: str) -> None:
    def module(name: str) -> Any:
        return importlib.import_module(f"shop_client{name}")

    models = module(".models")
    read, put = module(".api.default.read_product"), module(".api.default.put_product")
    with module("").Client(base_url=url) as client:
        seen = read.sync_detailed("teapot", client=client)
        etag = seen.headers["ETag"]
        mine = models.ProductToPut.from_dict({**seen.parsed.to_dict(), "stock": 7})
        saved = put.sync_detailed("teapot", client=client, body=mine, if_match=etag)
        assert (saved.status_code, saved.parsed.stock) == (200, 7)
        assert isinstance(saved.parsed, models.Product)

        stale = put.sync("teapot", client=client, body=mine, if_match=etag)
        assert isinstance(stale, models.PreconditionFailedProblem)
        assert stale.reason is models.PreconditionFailedProblemReason.STALE
        assert stale.etag == saved.headers["ETag"]
        unprotected = put.sync("teapot", client=client, body=mine)
        assert isinstance(unprotected, models.PreconditionRequiredProblem)

        new = put.sync_detailed("kettle", client=client, body=mine, if_none_match="*")
        assert (new.status_code, new.parsed.sku) == (201, "kettle")
