"""The page of the docs that has the figures: each table is between ``<!-- NAME -->`` and ``<!-- end -->``."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"


def _place_of(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {re.escape(name)} -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def put(name: str, text: str, page: Path = PAGE) -> None:
    """Put a text in its place.

    :raises RuntimeError: if the page has no place of that name.
    """
    changed, found = _place_of(name).subn(
        lambda match: f"{match[1]}\n{text}\n\n{match[3]}", page.read_text("utf-8")
    )
    if not found:
        raise RuntimeError(f"{page} has no place for {name}.")
    page.write_text(changed, "utf-8")


def told(name: str, page: Path = PAGE) -> str:
    """Return the text that is in a place.

    :raises RuntimeError: if the page has no place of that name.
    """
    found = _place_of(name).search(page.read_text("utf-8"))
    if found is None:
        raise RuntimeError(f"{page} has no place for {name}.")
    return found[2].strip()
