"""The grammar and the comparisons of RFC 9110 section 8.8.3, and rule 1.6."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_etag.entity_tags import MAX_FIELD_LENGTH, MAX_MEMBERS, EntityTag, MalformedField, TagList

OPAQUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters='"\x7f')).filter(
    lambda text: not any("\x7f" <= character < "\x80" for character in text)
)
TAGS = st.builds(EntityTag, OPAQUE, weak=st.booleans())


@pytest.mark.parametrize(
    ("one", "other", "strong", "weak"),
    [
        (EntityTag("1", weak=True), EntityTag("1", weak=True), False, True),
        (EntityTag("1", weak=True), EntityTag("2", weak=True), False, False),
        (EntityTag("1", weak=True), EntityTag("1"), False, True),
        (EntityTag("1"), EntityTag("1"), True, True),
    ],
)
def test_8_8_3_2_comparison(one: EntityTag, other: EntityTag, strong: bool, weak: bool) -> None:
    assert one.strongly_matches(other) is other.strongly_matches(one) is strong
    assert one.weakly_matches(other) is other.weakly_matches(one) is weak


def test_str_is_the_value_of_the_field() -> None:
    assert str(EntityTag("abc")) == '"abc"'
    assert str(EntityTag("abc", weak=True)) == 'W/"abc"'
    assert str(EntityTag("")) == '""'


@pytest.mark.parametrize("opaque", ['a"b', "a b", "a\nb", "\x7f", "\u0100", '"abc"'])
def test_what_cannot_stand_between_the_quotes_is_refused(opaque: str) -> None:
    with pytest.raises(ValueError, match="cannot be an entity tag"):
        EntityTag(opaque)


@pytest.mark.parametrize(
    ("field", "members"),
    [
        ("", []),
        (" , ,\t,", []),
        ('"a"', ["a"]),
        ('  "a"\t', ["a"]),
        ('"a","b" , "c"', ["a", "b", "c"]),
        (',"a",,"b",', ["a", "b"]),
        ('"a,b"', ["a,b"]),
        ('"a\\"', ["a\\"]),
        ('""', [""]),
        ('"*"', ["*"]),
        ('"\xe9"', ["\xe9"]),
    ],
)
def test_1_6_lists(field: str, members: list[str]) -> None:
    assert TagList.parse(field) == TagList(tuple(map(EntityTag, members)))


@pytest.mark.parametrize("field", ["*", " *\t"])
def test_1_6_wildcard(field: str) -> None:
    assert TagList.parse(field) == TagList(wildcard=True)


@pytest.mark.parametrize(
    "field",
    [
        "a",
        '"a',
        'a"',
        'w/"a"',
        'W"a"',
        'W/ "a"',
        '"a" "b"',
        '*, "a"',
        '"a", *',
        "*, *",
        "*,",
        '"a"\n',
        '"a"\xa0',
        "\v*",
        '"a b"',
        '"a"b',
        "W/*",
        '"\u0100"',
    ],
)
def test_1_6_malformed(field: str) -> None:
    with pytest.raises(MalformedField):
        TagList.parse(field)


def test_1_6_over_the_caps_is_malformed() -> None:
    assert len(TagList.parse(", ".join(['"a"'] * MAX_MEMBERS)).members) == MAX_MEMBERS
    with pytest.raises(MalformedField):
        TagList.parse(", ".join(['"a"'] * (MAX_MEMBERS + 1)))
    longest = '"' + "a" * (MAX_FIELD_LENGTH - 2) + '"'
    assert len(TagList.parse(longest).members) == 1
    with pytest.raises(MalformedField):
        TagList.parse(longest + " ")


OWS = st.text(st.sampled_from(" \t"), max_size=3)
COMMAS = st.lists(st.just(","), min_size=1, max_size=3)
EMPTY = st.text(st.sampled_from(", \t"), max_size=4)


@settings(deadline=None)
@given(st.lists(TAGS, max_size=20), EMPTY, EMPTY, st.data())
def test_5_6_1_a_list_that_was_written_reads_the_same(
    tags: list[EntityTag], before: str, after: str, data: st.DataObject
) -> None:
    """Whatever white space and empty members stand between the tags, before the first and after the last."""
    field = before + str(tags[0]) if tags else before
    for tag in tags[1:]:
        commas = data.draw(COMMAS)
        field += "".join(data.draw(OWS) + comma + data.draw(OWS) for comma in commas) + str(tag)
    assert TagList.parse(field + after) == TagList(tuple(tags))


@settings(deadline=None)
@given(TAGS, TAGS, OWS)
def test_5_6_1_two_tags_without_a_comma_between_them_are_malformed(
    one: EntityTag, other: EntityTag, gap: str
) -> None:
    with pytest.raises(MalformedField):
        TagList.parse(f"{one}{gap}{other}")


@settings(deadline=None)
@given(TAGS)
def test_8_8_3_a_tag_is_its_characters(tag: EntityTag) -> None:
    [read] = TagList.parse(str(tag)).members
    assert (read.opaque, read.weak) == (tag.opaque, tag.weak)
    assert read.strongly_matches(tag) is not tag.weak
    assert read.weakly_matches(tag)


@pytest.mark.parametrize("code", range(0x100))
def test_8_8_3_etagc(code: int) -> None:
    """``%x21 / %x23-7E / obs-text``, and nothing else."""
    opaque = chr(code)
    if code == 0x21 or 0x23 <= code <= 0x7E or code >= 0x80:
        assert TagList.parse(f'"{opaque}"') == TagList((EntityTag(opaque),))
    else:
        with pytest.raises(ValueError, match="cannot be an entity tag"):
            EntityTag(opaque)
        with pytest.raises(MalformedField):
            TagList.parse(f'"{opaque}"')


@given(st.text(st.sampled_from('W/"ab,* \t\\\xff')))
def test_whatever_is_sent_is_a_list_or_malformed(field: str) -> None:
    try:
        parsed = TagList.parse(field)
    except MalformedField:
        return
    assert parsed.wildcard or TagList.parse(", ".join(map(str, parsed.members))) == parsed
