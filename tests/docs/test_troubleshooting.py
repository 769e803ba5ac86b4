"""The page on troubleshooting: what it quotes is what the package says, and all that the package says is on it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import pytest

from flask_etag.errors import _ADVICE
from tests import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
FIRST_CELLS = re.findall(r"^\| (\".*?\") \|", PAGE, re.MULTILINE)
QUOTED = [text for cell in FIRST_CELLS for text in re.findall(r'"([^"]+)"', cell)]


@cache
def trees() -> dict[str, ast.Module]:
    """Return the source of the package, by its paths."""
    paths = sorted((ROOT / "flask_etag").rglob("*.py"))
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in paths}


def text_of(node: ast.AST) -> str:
    """Return a text of the source, with an ellipsis for each value that is put into it; empty if it is none."""
    if isinstance(node, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
    elif isinstance(node, ast.BinOp):
        text = text_of(node.left) + text_of(node.right)
    else:
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
    return re.sub(r"\s+", " ", text)


@cache
def texts() -> list[str]:
    """Return every text of the source."""
    return [text for tree in trees().values() for node in ast.walk(tree) if (text := text_of(node))]


Values = Mapping[str, Sequence[ast.AST]]


def constants() -> Values:
    """Return the texts of the source that have a name, by that."""
    return {
        target.id: [node.value]
        for tree in trees().values()
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.isupper() and text_of(node.value)
    }


SAYS = re.compile(r"(^|\.)(_?log\w*\.\w+|once)$|Error$|CannotRace$|__init__$|BadParameter$")


def given(tree: ast.AST) -> Values:
    """Return what the names in a piece of source are given by assignments and loops, and what functions return."""
    values: dict[str, list[ast.AST]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[target, *_], value=value) | ast.NamedExpr(target=target, value=value):
                pass
            case ast.AugAssign(target=target, value=value) | ast.For(target=target, iter=value):
                pass
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                returned = [each for each in ast.walk(node) if isinstance(each, ast.Return | ast.Yield)]
                values.setdefault(name, []).extend(returned)
                continue
            case _:
                continue
        for each in ast.walk(target):
            if isinstance(each, ast.Name):
                values.setdefault(each.id, []).append(value)
    return values


def texts_of(node: ast.AST, values: Values, seen: set[str]) -> Iterator[str]:
    """Yield the texts of a piece of source, and of what its names were given."""
    for part in ast.walk(node):
        yield text_of(part)
        if isinstance(part, ast.Name) and part.id not in seen:
            seen.add(part.id)
            for value in values.get(part.id, ()):
                yield from texts_of(value, values, seen)


def said() -> Iterator[tuple[str, list[str]]]:
    """Yield what the package raises or logs, of at least four words, with the place in the source that does so."""
    named = constants()
    for name, tree in trees().items():
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        returned: Values = {each.name: given(each)[each.name] for each in functions}
        scopes: list[tuple[ast.AST, Values]] = [(tree, named)]
        scopes += [(each, {**named, **returned, **given(each)}) for each in functions]
        for scope, values in scopes:
            for node in ast.walk(scope):
                if isinstance(node, ast.Raise) or (
                    isinstance(node, ast.Call) and SAYS.search(ast.unparse(node.func))
                ):
                    parts = texts_of(node, values, set())
                    if words := [text for text in parts if " " in text and len(re.findall("[a-z]{2,}", text)) > 3]:
                        yield f"{name}:{node.lineno}", words


@pytest.mark.parametrize("quoted", QUOTED)
def test_a_message_on_the_page_is_one_of_ours(quoted: str) -> None:
    assert any(quoted in text for text in texts())


def test_every_message_and_every_line_of_the_log_is_on_the_page() -> None:
    messages = list(said())
    assert len(messages) > 100
    missing = [at for at, texts in messages if not any(quoted in text for text in texts for quoted in QUOTED)]
    assert missing == []


@pytest.mark.parametrize("reason", _ADVICE)
def test_the_title_of_each_refusal_leads_to_its_reason(reason: str) -> None:
    assert re.search(rf'^\| "{re.escape(_ADVICE[reason][0])}" \| .*`{reason}`', PAGE, re.MULTILINE)
