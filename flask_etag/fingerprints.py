"""Fingerprints: what tells one state of a resource from another, and the digest that stands for it in a tag.

A tag is the text of a SHA-256 digest over a list of terms (a model, a key, a version). The length of each term is
written before it, so that no two lists of terms give one message. The digest depends on nothing else: every
process and every machine gives a state the same tag. With a secret (``ETAG_KEY``) it is an HMAC, so that nobody
without the secret can find out the terms by trying.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from uuid import UUID

from flask_etag.entity_tags import field_of

LENGTH = 32
"""The length of a digest in hexadecimal digits, 128 bits. A tag is one digest, or two with a dot between."""

_LONGEST_CACHED = 200
"""The longest message that is kept in memory with its digest, in characters."""

_BODY = b"4:body"  # what is hashed before a body
_EMPTY_SHA256 = sha256()  # copying it is quicker than sha256(), for which OpenSSL looks up the algorithm each time
_SHA256_OF_BODY = sha256(_BODY)

_WRITTEN_BY_STR = frozenset({str, int})
"""The types of terms that str() writes into a message."""

_CACHEABLE = frozenset({*_WRITTEN_BY_STR, UUID, bytes})
"""The types of terms that may be cache keys. No datetimes: equal ones can differ in ``fold``."""


@dataclass(slots=True)  # not frozen: each request makes one, and that would double its cost
class Fingerprint:
    """What tells one state of a resource from every other.

    :param message: the :func:`message_of` the terms that tell it: a model, a key and a version, say.
    :param weak: whether its tag is weak: two states of equivalent content may share it.
    :param verbatim: the opaque text that the application itself gave, to be sent as it is.
    :param content: the JSON text that a ``content_hash`` hashes, behind the message.
    """

    message: str
    weak: bool = False
    verbatim: str | None = None
    content: str | None = None
    _digested: tuple[bytes | None, str] | None = field(default=None, init=False, repr=False, compare=False)
    _field: tuple[bytes | None, str] | None = field(default=None, init=False, repr=False, compare=False)

    def digest(self, key: bytes | None = None) -> str:
        """Return the opaque text that stands for this fingerprint in a tag: 32 hexadecimal digits.

        :param key: a secret, for an HMAC in the place of a digest.
        """
        digested = self._digested  # read once: a thread of another application may replace it, by another key
        if digested is not None and digested[0] == key:
            return digested[1]
        text = self.message if self.content is None else self.message + self.content
        self._digested = digested = key, _digest(text.encode("utf-8", "surrogatepass"), key)
        return digested[1]

    def etag_field(self, key: bytes | None = None) -> str:
        """Return the value of the field ETag for this fingerprint, where the tag has no second half.

        :param key: as of :meth:`digest`.
        """
        known = self._field  # read once, as above
        if known is None or known[0] != key:
            opaque = self.digest(key) if self.verbatim is None else self.verbatim
            self._field = known = key, field_of(opaque, self.weak)
        return known[1]


def digest(terms: Iterable[object], key: bytes | None = None) -> str:
    """Return the opaque text that stands for a list of terms: 32 hexadecimal digits.

    :param terms: numbers, UUIDs, texts, bytes, dates, times: anything whose ``str()`` depends on its value alone.
    :param key: a secret, for an HMAC in the place of a digest.
    :raises TypeError: for a term whose text would differ from process to process.
    """
    return fingerprint_of(*terms).digest(key)


def fingerprint_of(*terms: object) -> Fingerprint:
    """Return the fingerprint of some terms, from the cache if they are short and were asked for lately.

    A fingerprint in the cache keeps its digest: a record that many requests read is hashed once.

    :raises TypeError: for a term whose text would differ from process to process.
    """
    for term in terms:
        if type(term) not in _CACHEABLE:
            return Fingerprint(message_of(*terms))
    try:
        return _cached_fingerprint(*terms)
    except _TooLongError as error:
        return error.fingerprint


@lru_cache(maxsize=1024, typed=True)
def _cached_fingerprint(*terms: object) -> Fingerprint:
    fingerprint = Fingerprint(message_of(*terms))
    if len(fingerprint.message) > _LONGEST_CACHED:
        raise _TooLongError(fingerprint)
    return fingerprint


class _TooLongError(Exception):
    """A fingerprint is too long for the cache: it is raised, since ``lru_cache`` keeps no call that raises."""

    def __init__(self, fingerprint: Fingerprint) -> None:
        super().__init__()
        self.fingerprint = fingerprint


def fingerprint_after(message: str, term: object) -> Fingerprint:
    """Return the fingerprint of a term, behind others whose message is known: what :func:`fingerprint_of` gives.

    :raises TypeError: for a term whose text would differ from process to process.
    """
    make = _cached_fingerprint_after if type(term) in _CACHEABLE else _fingerprint_after
    try:
        return make(message, term)
    except _TooLongError as error:
        return error.fingerprint


def _fingerprint_after(message: str, term: object) -> Fingerprint:
    text = str(term) if type(term) in _WRITTEN_BY_STR else _text_of(term)
    fingerprint = Fingerprint(f"{message}{len(text)}:{text}")
    if len(fingerprint.message) > _LONGEST_CACHED:
        raise _TooLongError(fingerprint)
    return fingerprint


_cached_fingerprint_after = lru_cache(maxsize=1024, typed=True)(_fingerprint_after)


def message_of(*terms: object) -> str:
    """Return the text that is hashed for some terms: the length of each is written before it.

    :raises TypeError: for a term whose text would differ from process to process.
    """
    message = ""
    for term in terms:
        text = str(term) if type(term) in _WRITTEN_BY_STR else _text_of(term)
        message = f"{message}{len(text)}:{text}"
    return message


def digest_of_body(body: bytes, key: bytes | None = None, epoch: str = "") -> str:
    """Return the opaque text of the tag of a body.

    :param key: a secret, for an HMAC in the place of a digest.
    :param epoch: ``ETAG_EPOCH``: another one makes every cached body stale.
    """
    if key is None:
        sha = _SHA256_OF_BODY.copy()
        sha.update(body)  # and not _digest(), for which the body would be copied
        text = sha.hexdigest()[:LENGTH]
    else:
        text = _digest(_BODY + body, key)
    return f"{text}.{digest(('epoch', epoch), key)}" if epoch else text


def _digest(message: bytes, key: bytes | None) -> str:
    if key is not None:
        return hmac.digest(key, message, sha256).hex()[:LENGTH]
    sha = _EMPTY_SHA256.copy()
    sha.update(message)
    return sha.hexdigest()[:LENGTH]


def _text_of(term: object) -> str:
    """Return the text of a term; of two equal values, in whatever process, it is the same."""
    if type(term) is UUID:
        return term.hex
    if isinstance(term, bytes | bytearray | memoryview):
        return bytes(term).decode("latin-1")
    if isinstance(term, datetime) and term.tzinfo is not None:
        term = term.astimezone(UTC)  # PostgreSQL gives an instant in the connection's own time zone
    if type(term).__str__ is object.__str__ and type(term).__repr__ is object.__repr__:
        raise TypeError(
            f"{type(term).__name__} has no text of its own, so it cannot be part of an ETag: give it a "
            "__str__() that depends on its value alone."
        )
    return str(term)
