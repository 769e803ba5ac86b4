"""What a server may have made of what was sent, and what shows that it has it. Merges are in cases.json."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_etag.merging import (
    changes_between,
    has_members_of,
    is_there,
    merge,
    patched,
    reads_as,
    same,
    uuids_in,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ("7.00", "7"),
        (7, "7"),
        ("7", 7.0),
        ("2026-01-01T10:00:00Z", "2026-01-01T11:00:00+01:00"),
        ("2026-01-01 10:00:00", "2026-01-01T10:00:00"),
        ("a", " a\n"),
        ("a\nb", "a\r\nb"),
        ("\u00e9", "e\u0301"),
        ({"a": 1, "added": 2}, {"a": "1"}),
        ([1, {"a": 1, "added": 2}], [1, {"a": 1}]),
        (None, None),
        (True, True),
        ("0B5E1F6E52D54C5E9F6A0D3C6D6C1A2B", "0b5e1f6e-52d5-4c5e-9f6a-0d3c6d6c1a2b"),
        ({}, {}),
        ("7.00", 7),
        ("-0.00", 0),
        (7.5, "7.50"),
        (7, " 7.00 "),
    ],
)
def test_what_may_be_the_same_spelt_otherwise(stored: Any, sent: Any) -> None:
    assert reads_as(stored, sent)


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ("8", "7"),
        (True, 1),
        ("A", "a"),
        (None, ""),
        ({}, {"a": 1}),
        ([1, 2], [1]),
        ("Infinity", "NaN"),
        ([], {}),
        ({"a": 1}, {}),
        ("1.1", "1.10"),
        ("1.10", "1.1"),
        ("7", "007"),
        ("7", "7.00"),
        ("7.5", 7),
        ("7.50", "7.5"),
        ("7.50", 7.5),
        (7, True),
        ("1e2", "100"),
        ("20261127", "2026-11-27"),
        ("2026-11-27T00:00:00", "2026-11-27T00:00:00Z"),
    ],
)
def test_what_is_not_the_same(stored: Any, sent: Any) -> None:
    assert not reads_as(stored, sent)


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "there"),
    [
        ({"a": 1}, {"a": 1}, {"a": 9}, True),  # nothing was changed
        ({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 2, "b": 9}, True),
        ({"a": 1}, {"a": 2}, {"a": 3}, False),
        ({"a": 1}, {}, {"a": 1}, False),
        ({"a": 1}, {}, {"b": 1}, True),
        ({"a": "7"}, {"a": "7.0"}, {"a": "7"}, False),  # that it is spelt otherwise was the change
        ({"a": "7"}, {"a": "7.0"}, {"a": "7.0"}, True),
        ([1, 2], [1, 3], [9, 3], True),
        ([1, 2], [1, 3], [1, 2], False),
        ([1], [1, 2], [1, 2, 3], False),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, True),
        (None, {"a": 1}, {"a": 1, "b": 2}, True),
    ],
)
def test_what_is_there_shows_all_that_was_changed(base: Any, mine: Any, theirs: Any, there: bool) -> None:
    assert is_there(base, mine, theirs) is there


ID = "0b5e1f6e-52d5-4c5e-9f6a-0d3c6d6c1a2b"
PLAIN = ID.replace("-", "")


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        ({"a": [{"id": ID}]}, {PLAIN}),
        ({ID.upper(): 1, "b": PLAIN}, {PLAIN}),
        (f"of order-{ID}, \xe9", {PLAIN}),
        ([ID, ID.replace("b", "c")], {PLAIN, PLAIN.replace("b", "c")}),
        (f"{PLAIN}{PLAIN}", set()),  # a digest
        (["2026-11-27T05:30:00.123456+00:00", 1764221400123456789, None], set()),
    ],
)
def test_9562_the_ids_that_nobody_else_can_know(content: Any, ids: set[str]) -> None:
    assert uuids_in(content) == ids


@pytest.mark.parametrize(
    ("content", "sent", "may"),
    [
        ({"a": 1, "b": 2}, {"a": 9}, True),
        ({"status": "done"}, {"a": 9}, False),
        ([1], [2], True),
        ("done", {"a": 1}, False),
    ],
)
def test_an_answer_that_may_be_the_content(content: Any, sent: Any, may: bool) -> None:
    assert has_members_of(content, sent) is may


@pytest.mark.parametrize(
    ("content", "changes", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": [1]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ([1], {"a": 1}, {"a": 1}),
        ({"a": "foo"}, "bar", "bar"),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_7396_merge_patch(content: Any, changes: Any, result: Any) -> None:
    assert patched(content, changes) == result


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"b": 3}),
        ({"a": 1, "b": 2}, {"a": 1}, {"b": None}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": {"e": 1}}, {"a": {"c": 3}, "d": {"e": 1}}),
        ({"a": 1}, {"a": True}, {"a": True}),
        ({"a": 1}, "b", "b"),
        ({"a": [1]}, {"a": [1]}, {}),
    ],
)
def test_7396_the_patch_between_two_contents(before: Any, after: Any, changes: Any) -> None:
    assert changes_between(before, after) == changes
    assert patched(before, changes) == after


@settings(deadline=None)
@given(JSON, JSON)
def test_who_alone_has_changed_something_gets_it(base: Any, mine: Any) -> None:
    assert merge(base, mine, base) == (mine, [])
    assert merge(base, base, mine) == (mine, [])
    assert merge(base, mine, mine) == (mine, [])


@settings(deadline=None)
@given(JSON, JSON, JSON)
def test_a_merge_clashes_both_ways_or_is_the_same_both_ways(base: Any, mine: Any, theirs: Any) -> None:
    one, clashes = merge(base, mine, theirs)
    other, clashes_of_other = merge(base, theirs, mine)
    assert sorted(clashes) == sorted(clashes_of_other)
    if not clashes:
        assert same(one, other)


@settings(deadline=None)
@given(JSON, JSON)
def test_what_was_merged_is_there(base: Any, mine: Any) -> None:
    merged, _ = merge(base, mine, base)
    assert is_there(base, mine, merged)
