"""The evaluation of RFC 9110 section 13, and rules 1.1 to 1.6; ids name the section or the rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from flask_etag.entity_tags import MAX_FIELD_LENGTH, EntityTag
from flask_etag.preconditions import Preconditions, Representation, Verdict

THEN = datetime(2026, 11, 6, 8, 49, 37, 500_000, tzinfo=UTC)
AT = "Fri, 06 Nov 2026 08:49:37 GMT"
BEFORE = "Fri, 06 Nov 2026 08:49:36 GMT"

STRONG = Representation(EntityTag("a"), THEN)
WEAK = Representation(EntityTag("a", weak=True), THEN)
UNTAGGED = Representation(None, THEN)
EMPTY_TAG = Representation(EntityTag(""))
ABSENT = None

GO: Verdict = "proceed"


@pytest.mark.parametrize(
    ("method", "sent", "current", "verdict"),
    [
        pytest.param("PUT", Preconditions(), STRONG, GO, id="13.1-no-condition"),
        pytest.param("PUT", Preconditions(if_match='"a"'), STRONG, GO, id="13.1.1-listed"),
        pytest.param("PUT", Preconditions(if_match='"b", "a"'), STRONG, GO, id="13.1.1-one-of-several"),
        pytest.param("PUT", Preconditions(if_match='"b"'), STRONG, "stale", id="13.1.1-not-listed"),
        pytest.param("GET", Preconditions(if_match='"b"'), STRONG, "stale", id="13.1.1-any-method"),
        pytest.param("PUT", Preconditions(if_match="*"), STRONG, GO, id="13.1.1-star-and-there-is-one"),
        pytest.param("PUT", Preconditions(if_match="*"), UNTAGGED, GO, id="13.1.1-star-needs-no-tag"),
        pytest.param("PUT", Preconditions(if_match="*"), ABSENT, "absent", id="13.1.1-star-and-there-is-none"),
        pytest.param("PUT", Preconditions(if_match='"a"'), ABSENT, "absent", id="13.1.1-there-is-none"),
        pytest.param("PUT", Preconditions(if_match='W/"a"'), STRONG, "weakened", id="13.1.1-strong-comparison"),
        pytest.param("PUT", Preconditions(if_match='W/"b"'), STRONG, "stale", id="13.1.1-weak-and-another"),
        pytest.param("PUT", Preconditions(if_match='"a"'), WEAK, "unverifiable", id="13.1.1-weak-current"),
        pytest.param("PUT", Preconditions(if_match='"a"'), UNTAGGED, "unverifiable", id="13.1.1-no-current-tag"),
        pytest.param("PUT", Preconditions(if_match=""), STRONG, "stale", id="rule-1.6-empty-if-match-is-false"),
        pytest.param("PUT", Preconditions(if_match='""'), EMPTY_TAG, GO, id="rule-1.6-empty-tag"),
        pytest.param("PUT", Preconditions(if_match='"*"'), STRONG, "stale", id="rule-1.6-quoted-star-is-a-tag"),
        pytest.param("PUT", Preconditions(if_match="a"), STRONG, "malformed", id="rule-1.6-unquoted"),
        pytest.param("PUT", Preconditions(if_match="a"), ABSENT, "malformed", id="rule-1.6-unquoted-and-absent"),
        pytest.param("PUT", Preconditions(if_match=" " * 10**6), STRONG, "malformed", id="rule-1.6-over-the-cap"),
        pytest.param("GET", Preconditions(if_none_match='"a"'), STRONG, "not modified", id="13.1.2-get"),
        pytest.param("HEAD", Preconditions(if_none_match='"a"'), STRONG, "not modified", id="13.1.2-head"),
        pytest.param("PUT", Preconditions(if_none_match='"a"'), STRONG, "exists", id="13.1.2-put"),
        pytest.param("GET", Preconditions(if_none_match='"b"'), STRONG, GO, id="13.1.2-another"),
        pytest.param("GET", Preconditions(if_none_match='W/"a"'), STRONG, "not modified", id="13.1.2-weak-sent"),
        pytest.param("GET", Preconditions(if_none_match='"a"'), WEAK, "not modified", id="13.1.2-weak-current"),
        pytest.param("GET", Preconditions(if_none_match="*"), STRONG, "not modified", id="13.1.2-star-get"),
        pytest.param("PUT", Preconditions(if_none_match="*"), STRONG, "exists", id="13.1.2-star-put"),
        pytest.param("PUT", Preconditions(if_none_match="*"), ABSENT, GO, id="13.1.2-star-and-there-is-none"),
        pytest.param("PUT", Preconditions(if_none_match='"a"'), ABSENT, GO, id="13.1.2-there-is-none"),
        pytest.param("GET", Preconditions(if_none_match='"a"'), UNTAGGED, GO, id="rule-3.7-no-tag-never-matches"),
        pytest.param(
            "GET", Preconditions(if_none_match=""), STRONG, GO, id="rule-1.6-empty-if-none-match-is-true"
        ),
        pytest.param("GET", Preconditions(if_none_match="a"), STRONG, GO, id="rule-1.6-malformed-on-a-read"),
        pytest.param("PUT", Preconditions(if_none_match="a"), STRONG, "malformed", id="rule-1.6-malformed"),
        pytest.param("GET", Preconditions(if_modified_since=AT), STRONG, "not modified", id="13.1.3-same-second"),
        pytest.param("HEAD", Preconditions(if_modified_since=AT), STRONG, "not modified", id="13.1.3-head"),
        pytest.param("GET", Preconditions(if_modified_since=BEFORE), STRONG, GO, id="13.1.3-modified"),
        pytest.param("PUT", Preconditions(if_modified_since=AT), STRONG, GO, id="13.1.3-reads-only"),
        pytest.param("GET", Preconditions(if_modified_since=AT), EMPTY_TAG, GO, id="13.1.3-no-date"),
        pytest.param(
            "GET", Preconditions(if_none_match='"b"', if_modified_since=AT), STRONG, GO, id="13.1.3-tag-first"
        ),
        pytest.param("PUT", Preconditions(if_unmodified_since=AT), STRONG, GO, id="13.1.4-same-second"),
        pytest.param("PUT", Preconditions(if_unmodified_since=BEFORE), STRONG, "stale", id="13.1.4-modified"),
        pytest.param("PUT", Preconditions(if_unmodified_since=BEFORE), EMPTY_TAG, GO, id="13.1.4-no-date"),
        pytest.param("PUT", Preconditions(if_unmodified_since="today"), STRONG, GO, id="13.1.4-invalid-date"),
        pytest.param(
            "PUT", Preconditions(if_match='"a"', if_unmodified_since=BEFORE), STRONG, GO, id="13.1.4-tag-first"
        ),
        pytest.param(
            "GET",
            Preconditions(if_match='"a"', if_none_match='"a"'),
            STRONG,
            "not modified",
            id="13.2.2-if-match-then-if-none-match",
        ),
        pytest.param(
            "PUT",
            Preconditions(if_match='"b"', if_none_match="a"),
            STRONG,
            "stale",
            id="13.2.2-if-match-decides-first",
        ),
        pytest.param(
            "PUT",
            Preconditions(if_unmodified_since=AT, if_none_match="*"),
            STRONG,
            "exists",
            id="13.2.2-unmodified-then-if-none-match",
        ),
        pytest.param("OPTIONS", Preconditions(if_match='"b"'), STRONG, GO, id="13.2.1-options"),
        pytest.param("TRACE", Preconditions(if_none_match="*"), STRONG, GO, id="13.2.1-trace"),
    ],
)
def test_evaluation(method: str, sent: Preconditions, current: Representation | None, verdict: Verdict) -> None:
    assert sent.evaluate(method, current) == verdict


@pytest.mark.parametrize(
    ("date", "is_read"),
    [
        ("Fri, 06 Nov 2026 08:49:37 GMT", True),
        ("Friday, 06-Nov-26 08:49:37 GMT", True),
        ("Fri Nov  6 08:49:37 2026", True),
        ("Fri, 06 Nov 2026 08:49:37", False),
        ("Fri, 06 Nov 2026 08:49:37 +0200", False),
        ("Fri, 06 Nov 2026 08:49:37 GMT; length=3", False),
        ("Fri, 06 Nov 2026 08:49:37 GMT, Fri, 06 Nov 2026 08:49:37 GMT", False),
        ("Fri, 31 Feb 2026 08:49:37 GMT", False),
        ("1794041377", False),
        ("", False),
    ],
)
def test_1_5_dates(date: str, is_read: bool) -> None:
    verdict = Preconditions(if_modified_since=date).evaluate("GET", STRONG)
    assert verdict == ("not modified" if is_read else "proceed")


@pytest.mark.parametrize(
    "modified",
    [THEN.replace(tzinfo=None), THEN.astimezone(timezone(timedelta(hours=2)))],
    ids=["a naive one is UTC", "any time zone"],
)
def test_1_5_the_application_s_dates(modified: datetime) -> None:
    current = Representation(last_modified=modified)
    assert Preconditions(if_modified_since=AT).evaluate("GET", current) == "not modified"
    assert Preconditions(if_unmodified_since=BEFORE).evaluate("PUT", current) == "stale"


@pytest.mark.parametrize(
    ("sent", "protects"),
    [
        (Preconditions(), False),
        (Preconditions(if_match='"a"'), True),
        (Preconditions(if_match=""), True),
        (Preconditions(if_none_match="*"), True),
        (Preconditions(if_none_match='"a"'), False),
        (Preconditions(if_unmodified_since=AT), False),
    ],
)
def test_what_protects_a_write(sent: Preconditions, protects: bool) -> None:
    assert sent.protect is protects


def test_1_6_a_flood_costs_no_more_than_its_cap() -> None:
    assert Preconditions(if_match='"' * (MAX_FIELD_LENGTH + 1)).evaluate("PUT", STRONG) == "malformed"
