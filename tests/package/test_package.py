"""What is shipped, and what it needs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the source, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("flask_etag", "sample_app", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    subprocess.run([*build, "--outdir", folder, source], check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def test_the_change_log_begins_with_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    newest = re.search(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1].split(" ")[0] == version  # its date, or that it is not published yet, is behind


def test_the_wheel_holds_the_package_alone_and_its_types(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [archive.read(name).decode() for name in names if name.endswith("/METADATA")]
    assert {name.split("/", maxsplit=1)[0].split("-")[0] for name in names} == {"flask_etag"}
    assert "flask_etag/py.typed" in names
    hard = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert hard == ["Requires-Dist: Flask>=3.0"]


def test_it_works_in_an_environment_with_nothing_but_the_wheel_and_flask(wheel: Path, tmp_path: Path) -> None:
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    for name in ("Flask", "Werkzeug", "Jinja2", "MarkupSafe", "itsdangerous", "click", "blinker"):
        for file in distribution(name).files or ():
            if ".." not in file.parts:
                (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), tmp_path / file)
    program = """
import threading
from importlib.util import find_spec

assert not any(map(find_spec, ("sqlalchemy", "flask_sqlalchemy", "marshmallow", "pytest")))

from flask import Flask, request
from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource

notes = {"one": {"text": "first"}}
lock = threading.Lock()

@resource(etag=content_hash(dict), lock=lambda name: lock)
def find_note(name):
    return notes.get(name)

app = Flask("notes")
ETag(app)

@app.get("/<name>")
@etag_resource(find_note)
def read_note(note):
    return note

@app.put("/<name>")
@require_if_match(find_note, create=True)
def replace_note(note, name):
    assert lock.locked()
    notes[name] = request.get_json()
    return notes[name]

client = app.test_client()
etag = client.get("/one").headers["ETag"]
assert client.get("/one", headers={"If-None-Match": etag}).status_code == 304
assert client.put("/one", json={}).status_code == 428
answer = client.put("/one", json={"text": "second"}, headers={"If-Match": etag})
assert answer.status_code == 200
assert answer.headers["ETag"] == client.get("/one").headers["ETag"] != etag
assert client.put("/one", json={}, headers={"If-Match": etag}).status_code == 412
assert client.put("/two", json={}, headers={"If-None-Match": "*"}).status_code == 200
import flask_etag
print(flask_etag.__file__)
"""
    ran = subprocess.run(
        [sys.executable, "-S", "-c", program],  # without the environment's own packages
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(str(tmp_path))


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 100
