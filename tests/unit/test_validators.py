from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from flask import Flask

from flask_etag import EntityTag, ETag, etag_resource, resource, version_column


class Tagged:
    def __init__(self, etag: EntityTag | str | None) -> None:
        self._etag = etag

    def __etag__(self) -> EntityTag | str | None:
        return self._etag


class Revised:
    def __init__(self, revision: object) -> None:
        self.revision = revision


@resource
def find_anything() -> object:
    return None


@resource(etag=version_column("revision"))
def find_revised() -> Revised | None:
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


def tag(revision: object) -> str:
    """Return the tag of what has a revision: the digest of that, and of what names it."""
    return str(find_revised.etag_of(Revised(revision)))


def test_a_tag_is_opaque_and_of_fixed_length() -> None:
    revisions = [1, 2, 11, "text", "\ud800", "ō" * 10_000, b"\x00\x01", Decimal("5.00"), UUID(int=1)]
    tags = [tag(revision) for revision in [*revisions, datetime(2026, 1, 1, tzinfo=UTC)]]
    assert all(re.fullmatch('"[0-9a-f]{32}"', each) for each in tags)
    assert len(set(tags)) == len(tags)


def test_an_instant_has_one_tag_in_every_time_zone() -> None:
    instant = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert tag(instant) == tag(instant.astimezone(timezone(timedelta(hours=5))))


def test_the_hour_that_comes_twice_has_two_tags() -> None:
    first = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    second = first.replace(fold=1)
    assert first == second
    assert tag(first) != tag(second)


def test_what_is_equal_and_of_another_type_has_another_tag() -> None:
    revisions = [1, True, 1.0, "1.00", Decimal("1.000")]
    for _ in range(2):  # the second time, those that are kept
        assert len({tag(revision) for revision in revisions}) == len(revisions)
    assert tag(Decimal("1.00")) == tag("1.00")  # of one text


def test_a_tag_is_another_under_another_secret_also_of_what_has_been_tagged_before() -> None:
    tags = []
    for key in (None, "secret", "another", None):
        app = Flask("keyed")
        app.config["ETAG_KEY"] = key
        ETag(app)
        with app.app_context():
            tags.append(tag(7))
    assert tags[0] == tags[3]
    assert len(set(tags)) == 3


def test_the_text_of_an_enum_s_member_is_its_value() -> None:
    class Stage(str, Enum):  # noqa: UP042 - str() of one is not its value
        DRAFT = "draft"

    app = Flask("stages")
    ETag(app)
    found = resource(etag=lambda _: Stage.DRAFT)(lambda: "page")
    app.get("/")(etag_resource(found)(lambda page: page))
    assert app.test_client().get("/").headers["ETag"] == '"draft"'


def test_a_revision_whose_text_is_an_address_is_refused() -> None:
    with pytest.raises(TypeError, match="has no text of its own"):
        tag(object())
