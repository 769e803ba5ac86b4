"""What is quoted on the page is what the package says, and each line that it logs once is on the page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")


def texts() -> Iterator[str]:
    """The texts of the package, with an ellipsis for each value that is put into one."""
    for path in sorted((ROOT / "flask_etag").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


TEXTS = [re.sub(r"\s+", " ", text) for text in texts()]


@pytest.mark.parametrize("quoted", re.findall(r'^\| "([^"]+)"', PAGE, re.MULTILINE))
def test_a_message_on_the_page_is_one_of_ours(quoted: str) -> None:
    assert any(quoted in text for text in TEXTS)


def test_every_line_that_is_logged_once_is_on_the_page() -> None:
    quoted = re.findall(r'^\| "([^"]+)"', PAGE, re.MULTILINE)
    told = [
        "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in ast.walk(node.args[0]))
        for path in sorted((ROOT / "flask_etag").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"log.once", "once"} and node.args
    ]
    assert told
    missing = [text for text in told if text and not any(line in re.sub(r"\s+", " ", text) for line in quoted)]
    assert missing == []
