"""What is shipped, and what it needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the source, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("flask_etag", "sample_app", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, source],
        check=True,
    )
    [wheel] = folder.glob("*.whl")
    return wheel


def test_the_wheel_holds_the_package_alone_and_its_types(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [archive.read(name).decode() for name in names if name.endswith("/METADATA")]
    assert {name.split("/", maxsplit=1)[0].split("-")[0] for name in names} == {"flask_etag"}
    assert "flask_etag/py.typed" in names
    hard = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert hard == ["Requires-Dist: Flask>=3.1"]


def test_it_works_where_sqlalchemy_is_not_installed(wheel: Path) -> None:
    program = """
import sys
for absent in ("sqlalchemy", "flask_sqlalchemy", "marshmallow"):
    sys.modules[absent] = None

from flask import Flask
from flask_etag import ETag, etag_resource, resource

class Page:
    def __etag__(self):
        return "v1"

@resource
def find_page():
    return Page()

app = Flask("pages")
ETag(app)
app.get("/")(etag_resource(find_page)(lambda page: "page"))
answer = app.test_client().get("/", headers={"If-None-Match": '"v1"'})
assert answer.status_code == 304, answer
import flask_etag
print(flask_etag.__file__)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=wheel.parent,
        env={"PYTHONPATH": str(wheel)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert ran.stdout.startswith(str(wheel))


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 100
