"""The evaluator, against one that was written from the RFC's text alone, over whatever a request may say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from flask_etag.entity_tags import EntityTag
from flask_etag.preconditions import Preconditions, Representation
from tests.unit import oracle


def mostly(usual: st.SearchStrategy[Any], *others: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw the usual three times out of four: what is sent has to match what there is often enough."""
    return st.sampled_from([usual, usual, usual, st.one_of(*others)]).flatmap(lambda strategy: strategy)


OPAQUE = mostly(st.just("a"), st.sampled_from(["", "b", "a,b", "*", "a\\", "\xe9", "W/", "a-gzip"]))
TAGS = st.tuples(st.booleans(), OPAQUE)

GAPS = st.text(st.sampled_from(" \t"), max_size=2)
SEPARATORS = st.tuples(GAPS, st.text(st.sampled_from(", \t"), max_size=2), GAPS).map(
    lambda parts: f"{parts[0]},{parts[1]}{parts[2]}"
)
PIECES = st.sampled_from(
    ['"', '"a"', 'W/"a"', 'w/"a"', "W/", "a", "*", '"*"', ",", " ", "\t", "\n", "\x7f", "\x80"]
)


@st.composite
def lists(draw: st.DrawFn) -> str:
    """A list of tags as a careless client may write it."""
    tags = draw(st.lists(TAGS, max_size=4))
    field = draw(GAPS)
    for weak, opaque in tags:
        field += ("W/" if weak else "") + f'"{opaque}"' + draw(SEPARATORS)
    return field if draw(st.booleans()) else field.rstrip(", \t")


TAG_FIELDS = mostly(
    lists(),
    st.sampled_from(["*", " * ", "", '"a"', 'W/"a"', '*, "a"', '"a" "b"', '"a', "a", '"a",' * 257, '"a"' * 3000]),
    st.lists(PIECES, max_size=6).map("".join),
    st.text(st.characters(max_codepoint=0xFF), max_size=20),
)

THEN = datetime(2026, 2, 28, 23, 59, 59, 500_000, tzinfo=UTC)
DATES = mostly(
    st.integers(-2, 2).map(lambda seconds: THEN + timedelta(seconds=seconds)),
    st.datetimes(datetime(2001, 1, 1), datetime(2060, 12, 31), timezones=st.just(UTC)),
)
GOOD_DATES = st.tuples(DATES, st.integers(0, 2)).map(lambda drawn: oracle.written(drawn[0])[drawn[1]])


@st.composite
def bad_dates(draw: st.DrawFn) -> str:
    """A date of which a character was put in, left out or changed, or two of them."""
    date = draw(GOOD_DATES)
    if draw(st.booleans()):
        return f"{date}, {draw(GOOD_DATES)}"
    at = draw(st.integers(0, len(date)))
    put_in = draw(st.sampled_from(["", " ", "\n", "x", ",", "\xb2"]))
    return date[:at] + put_in + date[at + draw(st.integers(0, 1)) :]


DATE_FIELDS = mostly(
    GOOD_DATES,
    bad_dates(),
    st.sampled_from(["", "0", "Sat, 31 Feb 2026 00:00:00 GMT", "Sat, 28 Feb 2026 23:59:59 +0200"]),
)

FIELDS = {
    "If-Match": TAG_FIELDS,
    "If-None-Match": TAG_FIELDS,
    "If-Modified-Since": DATE_FIELDS,
    "If-Unmodified-Since": DATE_FIELDS,
}
READS = ["GET", "HEAD"]
OTHERS = ["PUT", "POST", "DELETE", "PATCH", "QUERY", "OPTIONS", "TRACE", "CONNECT"]
METHODS = st.sampled_from(READS) | st.sampled_from(OTHERS)
MODIFIED = mostly(st.just(THEN), st.none(), st.just(THEN.replace(microsecond=0)), DATES)
CURRENT = mostly(st.builds(oracle.Current, mostly(TAGS, st.none()), MODIFIED), st.none())


@st.composite
def sent_fields(draw: st.DrawFn) -> dict[str, str]:
    """Mostly one field or two: of more than that, the first one to fail hides the others."""
    most = draw(st.sampled_from([1, 1, 2, 4]))
    names = draw(st.lists(st.sampled_from(list(FIELDS)), min_size=1, max_size=most, unique=True))
    return {name: draw(FIELDS[name]) for name in names}


@settings(max_examples=1000, deadline=None)
@given(METHODS, sent_fields(), CURRENT)
@example("PUT", {"If-Match": '"a",' * 255 + '"a"'}, oracle.Current((False, "a")))
@example("PUT", {"If-Match": '"a"' + " " * 8187}, oracle.Current((False, "a")))
@example("GET", {"If-None-Match": '"a"' + " " * 8188}, oracle.Current((False, "a")))
def test_13_2_2_the_evaluator_says_what_the_rfc_says(
    method: str, fields: dict[str, str], current: oracle.Current | None
) -> None:
    expected = oracle.respond(method, fields, current)
    event(f"{'read' if method in READS else 'write'}: {expected}")
    sent = Preconditions(**{name.lower().replace("-", "_"): value for name, value in fields.items()})
    representation = None
    if current is not None:
        tag = None if current.tag is None else EntityTag(current.tag[1], weak=current.tag[0])
        representation = Representation(tag, current.modified)
    verdict = sent.evaluate(method, representation)
    assert {"proceed": "perform", "not modified": 304}.get(verdict, 412) == expected


STATES = st.sampled_from(["s" * 32, "t" * 32])
VARIANTS = st.sampled_from(["", "." + "v" * 32, "." + "w" * 32])
SUFFIXES = st.sampled_from(["", "-gzip", "--gzip", ":gzip", "-br"])
SENT = st.lists(st.tuples(st.booleans(), STATES, VARIANTS, SUFFIXES), min_size=1, max_size=4)


@settings(max_examples=500, deadline=None)
@given(SENT, STATES, VARIANTS, st.booleans())
def test_3_1_reads_compare_the_whole_tag_and_writes_the_state_alone(
    sent: list[tuple[bool, str, str, str]], state: str, variant: str, accept_weakened: bool
) -> None:
    current = Representation(EntityTag(state + variant), state=state)
    field = ", ".join(f'{"W/" * weak}"{own}{form}{suffix}"' for weak, own, form, suffix in sent)
    clean = [(own, form) for weak, own, form, suffix in sent if accept_weakened or not (weak or suffix)]
    unsuffixed = [(own, form) for weak, own, form, suffix in sent if accept_weakened or not suffix]

    writes = Preconditions(if_match=field).evaluate("PUT", current, accept_weakened=accept_weakened)
    assert (writes == "proceed") is (state in [own for own, _ in clean])
    reads = Preconditions(if_match=field).evaluate("GET", current, accept_weakened=accept_weakened)
    assert (reads == "proceed") is ((state, variant) in clean)
    revalidates = Preconditions(if_none_match=field).evaluate("GET", current, accept_weakened=accept_weakened)
    assert (revalidates == "not modified") is ((state, variant) in unsuffixed)
    creates = Preconditions(if_none_match=field).evaluate("PUT", current, accept_weakened=accept_weakened)
    assert (creates == "exists") is (state in [own for own, _ in unsuffixed])
