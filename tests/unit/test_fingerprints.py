"""What an entity tag is made of, and what is kept of that."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from uuid import UUID

import pytest

from flask_etag.fingerprints import LENGTH, fingerprint_after, fingerprint_of, message_of

LONG = "v" * 100_000


@pytest.mark.parametrize(
    "term", [7, "7", b"7", True, None, Decimal("7.0"), UUID(int=7), datetime(2026, 1, 1, tzinfo=UTC), "ü", LONG]
)
def test_a_term_behind_a_known_message_is_one_of_them_all(term: object) -> None:
    made = fingerprint_after(message_of("Note", "revision"), term)
    assert made == fingerprint_of("Note", "revision", term)
    assert made.digest() == fingerprint_of("Note", "revision", term).digest()


def test_a_fingerprint_is_kept_unless_it_is_long() -> None:
    assert fingerprint_of("Note", 7) is fingerprint_of("Note", 7)
    assert fingerprint_after(message_of("Note"), 7) is fingerprint_after(message_of("Note"), 7)
    assert fingerprint_of("Note", LONG) is not fingerprint_of("Note", LONG)
    assert fingerprint_after(message_of("Note"), LONG) is not fingerprint_after(message_of("Note"), LONG)


@pytest.mark.parametrize("term", [7, LONG])
def test_its_digest_is_that_of_its_message(term: object) -> None:
    made = fingerprint_of("Note", term)
    assert made.digest() == sha256(message_of("Note", term).encode()).hexdigest()[:LENGTH]


@pytest.mark.parametrize("make", [fingerprint_of, lambda term: fingerprint_after(message_of("Note"), term)])
def test_a_term_without_a_text_of_its_own_is_refused(make: object) -> None:
    with pytest.raises(TypeError):
        make(object())  # type: ignore[operator]
