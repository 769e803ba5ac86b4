"""Links of what Sphinx does not see: the files beside the docs, and the addresses in the package's own texts.

The links within the docs are checked where they are built: each warning is an error.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests import ROOT

URLS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
SITE = URLS["Documentation"]
PAGES = {path.stem: path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")}
FILES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
LINKS = [
    (path.name, target)
    for path in FILES
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8"))
    if "://" not in target
]
ADDRESSES = sorted(
    {
        address
        for folder in ("flask_etag", "sample_app", "examples", ".github")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".js", ".html", ".yml"} and "vendor" not in path.parts
        for address in re.findall(rf"{re.escape(SITE)}([\w#./-]*)", path.read_text("utf-8"))
    }
)


def anchors_of(text: str) -> set[str]:
    """Return what a link may name within a page: its headings, as GitHub spells them, and its own anchors."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    spelled = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return spelled | set(re.findall(r'<a id="([^"]+)"', text))


@pytest.mark.parametrize(("name", "target"), LINKS)
def test_a_link_beside_the_docs_leads_somewhere(name: str, target: str) -> None:
    path, _, anchor = target.partition("#")
    linked = ROOT / (path or name)
    assert linked.exists()
    assert not anchor or anchor in anchors_of(linked.read_text("utf-8"))


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_in_the_package_is_one_of_the_site(address: str) -> None:
    page, _, anchor = address.removesuffix(".").partition("#")
    assert not page or page in PAGES
    assert not anchor or anchor in anchors_of(PAGES[page])


@pytest.mark.parametrize(
    "path",
    [
        path
        for folder in ("flask_etag", "sample_app", "docs", "tests/recipes", ".github")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".html", ".md", ".yml"} and "_build" not in path.parts
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_an_address_of_the_project_is_one_of_its_urls(path: Path) -> None:
    """Whoever publishes the project sets two addresses, and this names the places that still have another."""
    for address in re.findall(r"https://[\w.-]*(?:/[\w.-]+)*flask-etag[\w./#-]*", path.read_text("utf-8")):
        assert address.startswith((SITE, URLS["Source"]))
