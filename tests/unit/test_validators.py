from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from flask import Flask

from flask_etag import EntityTag, ETag, etag_resource, resource
from flask_etag.states import digest, state_of


class Tagged:
    def __init__(self, etag: EntityTag | str | None) -> None:
        self._etag = etag

    def __etag__(self) -> EntityTag | str | None:
        return self._etag


@resource
def find_anything() -> object:
    return None


@pytest.fixture(autouse=True)
def context() -> Iterator[None]:
    tagging = Flask("tagging")
    ETag(tagging)
    with tagging.app_context():
        yield


def test_an_object_s_own_etag() -> None:
    assert find_anything.etag_of(Tagged("abc")) == EntityTag("abc")
    assert find_anything.etag_of(Tagged(EntityTag("abc", weak=True))) == EntityTag("abc", weak=True)
    with pytest.raises(ValueError, match="This Tagged has no ETag"):
        find_anything.etag_of(Tagged(None))


def test_an_object_that_says_nothing_is_refused_with_advice() -> None:
    with pytest.raises(TypeError, match=r"dict does not say .* __etag__"):
        find_anything.etag_of({})


def test_a_digest_is_opaque_and_of_fixed_length() -> None:
    tag = digest(["Note", 1, 7])
    assert tag == "c2db6f52e1d242e1bec7d0799d450a21"  # in every process and on every machine
    assert digest(["Note", 1, 8]) != tag
    assert digest(["Note", 11, 7]) != digest(["Note", 1, 17])
    assert digest(["a", "bc"]) != digest(["ab", "c"])


@pytest.mark.parametrize(
    "term", [1, "text", "\ud800", b"\x00\x01", Decimal("5.00"), UUID(int=1), datetime(2026, 1, 1, tzinfo=UTC)]
)
def test_terms_of_many_kinds(term: object) -> None:
    assert len(digest([term])) == 32


def test_an_instant_has_one_digest_in_every_time_zone() -> None:
    instant = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert digest([instant]) == digest([instant.astimezone(timezone(timedelta(hours=5)))])


def test_the_hour_that_comes_twice_has_two_digests() -> None:
    first = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    second = first.replace(fold=1)
    assert first == second
    assert digest([first]) != digest([second])


def test_what_is_equal_and_of_another_type_has_another_digest() -> None:
    terms = [1, True, 1.0, "1.00", Decimal("1.000")]
    for _ in range(2):  # the second time, those that are kept
        assert len({digest([term]) for term in terms}) == len(terms)
    assert digest([Decimal("1.00")]) == digest(["1.00"])  # of one text


def test_a_state_that_is_kept_has_another_tag_under_another_secret() -> None:
    state = state_of("Note", 1, 7)
    assert state_of("Note", 1, 7) is state
    plain = state.digest()
    assert state.digest(b"secret") != state.digest(b"another") != plain
    assert state.digest() == plain


def test_the_text_of_an_enum_s_member_is_its_value() -> None:
    class Stage(str, Enum):  # noqa: UP042 - str() of one is not its value
        DRAFT = "draft"

    app = Flask("stages")
    ETag(app)
    found = resource(etag=lambda _: Stage.DRAFT)(lambda: "page")
    app.get("/")(etag_resource(found)(lambda page: page))
    assert app.test_client().get("/").headers["ETag"] == '"draft"'


def test_a_term_whose_text_is_an_address_is_refused() -> None:
    with pytest.raises(TypeError, match="has no text of its own"):
        digest([object()])


def test_a_version_that_is_long_is_not_kept() -> None:
    long = "v" * 10_000
    assert state_of("Note", long) is not state_of("Note", long)
    assert state_of("Note", long).digest() == state_of("Note", long).digest()
