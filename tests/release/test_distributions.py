"""The wheel and the sdist: the same whoever builds them, complete, and typed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests import ROOT
from tests.release.conftest import build

_PRIVATE = tuple(
    f"flask_etag.sqlalchemy.{module}."
    for module in ("backend", "claims", "creation", "creations", "holds", "plans", "transactions", "unit")
)
"""What is said of SQLAlchemy's events alone, where some types are read off the values."""


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    ran = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_two_builds_give_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    [again] = build(tmp_path).glob("*.whl")
    assert again.name == wheel.name
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(wheel.read_bytes()).digest()


def test_an_index_would_take_them(wheel: Path, sdist: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)


def test_the_sdist_has_all_that_git_has(sdist: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert {name for name in listed.split("\0") if name and (ROOT / name).is_file()} <= packed


def test_the_sdist_passes_its_own_tests(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [source] = tmp_path.iterdir()
    says_where = "import flask_etag, pathlib; print(pathlib.Path(flask_etag.__file__).parents[1])"
    assert run(sys.executable, "-c", says_where, cwd=source).strip() == str(source)
    ran = run(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit", "tests/http", cwd=source
    )
    assert " passed" in ran


def test_every_public_name_has_its_type(wheel: Path, tmp_path: Path) -> None:
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path)  # noqa: S202 - ours
    command = (sys.executable, "-m", "pyright", "--ignoreexternal", "--verifytypes", "flask_etag", "--outputjson")
    report = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, check=False
    )
    symbols = json.loads(report.stdout)["typeCompleteness"]["symbols"]
    assert symbols
    known = {symbol["name"]: symbol["isTypeKnown"] for symbol in symbols if symbol["isExported"]}
    assert [name for name, is_known in known.items() if not is_known and not name.startswith(_PRIVATE)] == []


@pytest.mark.parametrize(
    "workflow", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.stem
)
def test_a_workflow_is_one_that_the_forge_reads(workflow: Path) -> None:
    run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", workflow)


IN_AN_APPLICATION_THAT_EXISTS = """
from flask import Flask, request
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker
from flask_etag import ETag, require_if_match, resource
from flask_etag.sqlalchemy import Versioned
from flask_etag.testing import conformance, race

class Base(DeclarativeBase):
    pass

class Note(Versioned, Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]

engine = create_engine("sqlite:///notes.db")
session = scoped_session(sessionmaker(engine))
app = Flask(__name__)
ETag(app)
app.teardown_appcontext(lambda error: session.remove())

@resource
def find_note(note_id):
    return session.get(Note, note_id)

@app.route("/notes/<int:note_id>", methods=["GET", "PUT"])
@require_if_match(find_note)
def note(note):
    if request.method == "PUT":
        note.body = request.json["body"]
        session.commit()
    return {"body": note.body}

Base.metadata.create_all(engine)
session.add(Note(id=1, body="first"))
session.commit()
session.remove()
cases = list(conformance(app, "/notes/1", {"body": "other"}))
print(len(cases) > 50, [case.name for case in cases if case.passed is False])
tag = app.test_client().get("/notes/1").headers["ETag"]
def save(client):
    return client.put("/notes/1", json={"body": "mine"}, headers={"If-Match": tag})
print(sorted(answer.status_code for answer in race(app, save, save)))
engine.dispose()
"""


def test_an_application_that_exists_keeps_what_it_has_and_is_guarded(wheel: Path, tmp_path: Path) -> None:
    """The oldest Flask and SQLAlchemy that are supported stay what they are, and so does what came with them."""
    python = tmp_path / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path)
    run(*pip, "install", "--quiet", "Flask==3.0.3", "SQLAlchemy==2.0.43")
    before = set(run(*pip, "freeze", "--all").splitlines())
    run(*pip, "install", "--quiet", f"{wheel}[sqlalchemy]")
    [added] = set(run(*pip, "freeze", "--all").splitlines()) ^ before
    assert added.startswith("Flask-ETag @ ")
    run(*pip, "check")
    printed = run(python, "-W", "error", "-c", IN_AN_APPLICATION_THAT_EXISTS, cwd=tmp_path)
    assert printed.splitlines() == ["True []", "[200, 412]"]
