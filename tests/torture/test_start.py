"""The store's start in many processes at once, on a database that is empty."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

import pytest
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import Session

from sample_app.models import Product
from tests import ROOT

WAIT = 30  # seconds, after which a server that does not answer is given up


START_AT_ONCE = """
import os, sys, time
from sqlalchemy import event
from sqlalchemy.orm import Session
from sample_app import create_app
from sample_app.models import Base

@event.listens_for(Base.metadata, "before_create")
def found_no_tables(_metadata, _connection, tables, **_):
    time.sleep(0.2 if tables else 0)  # so that all others look as well, unless they have to wait

@event.listens_for(Session, "before_flush")
def found_no_products(*_):
    time.sleep(0.2)

for _ in range(8):
    if os.fork() == 0:
        status = 1
        try:
            create_app()
            status = 0
        finally:
            os._exit(status)
sys.exit(any([os.wait()[1] for _ in range(8)]))
"""


def test_many_processes_start_at_once_on_an_empty_database(empty_url: str) -> None:
    subprocess.run(
        [sys.executable, "-c", START_AT_ONCE],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": empty_url},
        check=True,
    )
    assert count_products(empty_url) == 4


@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["each", "preload"])
def test_many_workers_of_gunicorn_start_at_once_on_an_empty_database(
    empty_url: str, tmp_path: Path, preload: list[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--workers", "4", "--bind", f"127.0.0.1:{port}", *preload]
    url, log = f"http://127.0.0.1:{port}/api/products/teapot", tmp_path / "log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [*command, "sample_app:create_app()"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": empty_url},
            stderr=output,
        ) as process,
    ):
        try:
            deadline = time.monotonic() + WAIT
            while not answers(url):
                assert time.monotonic() < deadline, log.read_text()
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
            with ThreadPoolExecutor(8) as threads:
                assert all(threads.map(answers, [url] * 80)), log.read_text()
        finally:
            process.terminate()
    started = log.read_text()
    assert "Traceback" not in started
    assert count_products(empty_url) == 4


def answers(url: str) -> bool:
    try:
        with urlopen(url) as answer:  # noqa: S310 - the server that was started here
            return bool(answer.status == 200)
    except OSError:
        return False


def count_products(url: str) -> int:
    engine = create_engine(url)
    with Session(engine) as session:
        count = session.scalar(select(func.count()).select_from(Product))
    engine.dispose()
    return count or 0
