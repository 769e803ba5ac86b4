"""The page on the API has every public name, and each says what goes in and what comes out."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import Any

import pytest

from tests import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text("utf-8")
MODULES = ("flask_etag", "flask_etag.sqlalchemy", "flask_etag.client", "flask_etag.testing")
PUBLIC = [f"{module}.{name}" for module in MODULES for name in import_module(module).__all__]
SHOWN = re.findall(r"^\.\. auto(?:function|class|exception|data):: (\S+)", PAGE, re.MULTILINE)
ASYNCHRONOUS = re.compile(r"flask_etag\.client\.a[a-z_]+")  # as the function without the a, which is on the page


def found(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


@pytest.mark.parametrize("path", [path for path in PUBLIC if not ASYNCHRONOUS.fullmatch(path)])
def test_a_public_name_is_on_the_page(path: str) -> None:
    assert path in SHOWN


@pytest.mark.parametrize("path", [path for path in SHOWN if inspect.isroutine(found(path))])
def test_a_public_function_says_what_it_takes_and_what_it_gives(path: str) -> None:
    function = found(path)
    said = inspect.getdoc(function) or ""
    signature = inspect.signature(function)
    told = set(re.findall(r":param (?:\w+, )*(\w+)", said)) | set(re.findall(r"``(\w+)=?``", said))
    assert set(signature.parameters) - told - {"limits"} == set()
    assert signature.return_annotation in (None, "None") or re.search(":return:|[Rr]eturn|[Yy]ield|decorat", said)
