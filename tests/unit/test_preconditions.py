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


# 5.6.7: second = 2DIGIT, up to 23:59:60; year = 4DIGIT, which is not a year of two digits with noughts before it.
@pytest.mark.parametrize(
    "date",
    [
        "Sat, 31 Dec 2016 23:59:60 GMT",
        "Saturday, 31-Dec-16 23:59:60 GMT",
        "Sat Dec 31 23:59:60 2016",
        "Tue, 06 Nov 0050 08:49:37 GMT",
        "Sun Nov  6 08:49:37 0050",
    ],
)
def test_1_5_dates_that_few_people_send(date: str) -> None:
    assert Preconditions(if_unmodified_since=date).evaluate("PUT", STRONG) == "stale"


STATE, OTHER_STATE = "s" * 32, "t" * 32
GERMAN, FRENCH = "." + "d" * 32, "." + "f" * 32
IN_GERMAN = Representation(EntityTag(STATE + GERMAN), state=STATE, verbatim="v1")
PLAIN = Representation(EntityTag(STATE), state=STATE)
VERBATIM = Representation(EntityTag("v1"), state=STATE, verbatim="v1")
WEAK_STATE = Representation(EntityTag(STATE, weak=True), state=STATE)


@pytest.mark.parametrize(
    ("current", "sent", "write", "read"),
    [
        pytest.param(IN_GERMAN, STATE + GERMAN, GO, GO, id="3.1-its-own"),
        pytest.param(IN_GERMAN, STATE + FRENCH, GO, "stale", id="3.1-another-variant"),
        pytest.param(IN_GERMAN, STATE, "stale", "stale", id="3.1-the-state-alone-is-not-sent-of-verbatim"),
        pytest.param(IN_GERMAN, "v1", GO, "stale", id="3.1-verbatim"),
        pytest.param(IN_GERMAN, OTHER_STATE + GERMAN, "stale", "stale", id="3.1-another-state"),
        pytest.param(IN_GERMAN, OTHER_STATE, "stale", "stale", id="3.1-another-state-alone"),
        pytest.param(IN_GERMAN, "v2", "stale", "stale", id="3.1-another-verbatim"),
        pytest.param(IN_GERMAN, STATE + GERMAN[:-1], "stale", "stale", id="3.1-a-variant-that-is-cut"),
        pytest.param(IN_GERMAN, STATE + GERMAN + "x", "stale", "stale", id="3.1-a-variant-that-is-longer"),
        pytest.param(IN_GERMAN, STATE + GERMAN + FRENCH, "stale", "stale", id="3.1-two-variants"),
        pytest.param(IN_GERMAN, GERMAN, "stale", "stale", id="3.1-the-variant-alone"),
        pytest.param(IN_GERMAN, "", "stale", "stale", id="3.1-nothing"),
        pytest.param(PLAIN, STATE + GERMAN, GO, "stale", id="3.1-variant-of-what-has-none"),
        pytest.param(PLAIN, "v1", "stale", "stale", id="3.1-no-verbatim"),
        pytest.param(VERBATIM, "v1", GO, GO, id="3.1-verbatim-is-the-tag"),
        pytest.param(VERBATIM, STATE, "stale", "stale", id="3.1-the-state-of-verbatim"),
        pytest.param(VERBATIM, STATE + GERMAN, GO, "stale", id="3.1-a-variant-of-verbatim"),
        pytest.param(VERBATIM, "v1-gzip", "stale", "stale", id="3.8-a-suffix-needs-a-state-before-it"),
        pytest.param(STRONG, "a" + GERMAN, "stale", "stale", id="3.1-without-a-state-tags-are-whole"),
        pytest.param(WEAK_STATE, STATE, "unverifiable", "unverifiable", id="1.3-a-weak-one-satisfies-no-list"),
    ],
)
def test_3_1_if_match(current: Representation, sent: str, write: Verdict, read: Verdict) -> None:
    sent_fields = Preconditions(if_match=f'"{sent}"')
    for method in ("PUT", "PATCH", "POST", "DELETE"):
        for accept_weakened in (False, True):
            assert sent_fields.evaluate(method, current, accept_weakened=accept_weakened) == write
    for method in ("GET", "HEAD"):
        assert sent_fields.evaluate(method, current) == read
    revalidating = Preconditions(if_none_match=f'"{sent}"')
    is_own = current.etag is not None and sent == current.etag.opaque
    assert revalidating.evaluate("GET", current) == ("not modified" if is_own else GO)


@pytest.mark.parametrize("form", ["", GERMAN])
@pytest.mark.parametrize("sent", ['W/"{}"', '"{}-gzip"', '"{}--gzip"', '"{}:gzip"', '"{}-br"', 'W/"{}:zstd"'])
class TestWeakened:
    """Rule 3.8."""

    def test_3_8_by_default_it_is_refused_and_the_reason_says_so(self, form: str, sent: str) -> None:
        current = Representation(EntityTag(STATE + form), state=STATE)
        field = sent.format(STATE + form)
        for method in ("PUT", "GET"):
            assert Preconditions(if_match=field).evaluate(method, current) == "weakened"
        is_only_weak = sent == 'W/"{}"'
        assert Preconditions(if_none_match=field).evaluate("GET", current) == (
            "not modified" if is_only_weak else GO
        )

    def test_3_8_accepted_it_is_as_good_as_ever(self, form: str, sent: str) -> None:
        current = Representation(EntityTag(STATE + form), state=STATE)
        matching, revalidating = (
            Preconditions(if_match=f'"x", {sent.format(STATE + form)}'),
            Preconditions(if_none_match=f'"x", {sent.format(STATE + form)}'),
        )
        for method in ("PUT", "GET"):
            assert matching.evaluate(method, current, accept_weakened=True) == GO
        assert revalidating.evaluate("GET", current, accept_weakened=True) == "not modified"
        assert revalidating.evaluate("PUT", current, accept_weakened=True) == "exists"

    def test_3_8_accepted_it_is_stale_when_the_state_has_changed(self, form: str, sent: str) -> None:
        current = Representation(EntityTag(OTHER_STATE + form), state=OTHER_STATE)
        field = sent.format(STATE + form)
        for method in ("PUT", "GET"):
            assert Preconditions(if_match=field).evaluate(method, current, accept_weakened=True) == "stale"
        assert Preconditions(if_none_match=field).evaluate("GET", current, accept_weakened=True) == GO

    def test_3_8_accepted_it_does_not_make_a_weak_one_strong(self, form: str, sent: str) -> None:
        current = Representation(EntityTag(STATE + form, weak=True), state=STATE)
        field = sent.format(STATE + form)
        verdict = Preconditions(if_match=field).evaluate("PUT", current, accept_weakened=True)
        assert verdict == "unverifiable"


@pytest.mark.parametrize("accept_weakened", [False, True])
@pytest.mark.parametrize(
    "suffix", ["gzip", "-", "-g", "-GZIP", "-gzip-br", "---gzip", "-gzip.", "\xe9", "-abcdefghi"]
)
def test_3_8_what_no_proxy_appends_is_another_tag(suffix: str, accept_weakened: bool) -> None:
    for own in (STATE, STATE + GERMAN):
        current = Representation(EntityTag(own), state=STATE)
        sent = Preconditions(if_match=f'"{own}{suffix}"')
        assert sent.evaluate("PUT", current, accept_weakened=accept_weakened) == "stale"


def test_3_8_a_verbatim_tag_that_was_marked_weak_is_known() -> None:
    sent = Preconditions(if_match='W/"v1"')
    for current in (VERBATIM, IN_GERMAN):
        assert sent.evaluate("PUT", current) == "weakened"
        assert sent.evaluate("PUT", current, accept_weakened=True) == GO


def test_3_8_one_good_tag_is_enough_beside_weakened_ones() -> None:
    sent = Preconditions(if_match=f'W/"{STATE}", "{STATE}-gzip", "{STATE}"')
    assert sent.evaluate("PUT", PLAIN) == GO


def test_3_7_without_a_tag_nothing_names_it() -> None:
    current = Representation(None, THEN, STATE, "v1")
    for field in (f'"{STATE}"', '"v1"', '""'):
        for accept_weakened in (False, True):
            sent = Preconditions(if_match=field)
            assert sent.evaluate("PUT", current, accept_weakened=accept_weakened) == "unverifiable"
            sent = Preconditions(if_none_match=field)
            assert sent.evaluate("GET", current, accept_weakened=accept_weakened) == GO


def test_1_10_a_date_that_is_not_shown_makes_no_304_and_still_refuses_a_write() -> None:
    current = Representation(EntityTag("a"), THEN, shows_last_modified=False)
    assert Preconditions(if_modified_since=AT).evaluate("GET", current) == GO
    assert Preconditions(if_unmodified_since=BEFORE).evaluate("PUT", current) == "stale"
    assert Preconditions(if_unmodified_since=BEFORE).evaluate("GET", current) == "stale"
    assert Preconditions(if_unmodified_since=AT).evaluate("PUT", current) == GO


def test_1_6_a_flood_costs_no_more_than_its_cap() -> None:
    assert Preconditions(if_match='"' * (MAX_FIELD_LENGTH + 1)).evaluate("PUT", STRONG) == "malformed"
