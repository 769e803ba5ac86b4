"""What tells one state of a resource from another, and the digest that stands for it.

Tags are opaque: the text of a SHA-256 digest, over terms of which each is preceded by its length, so that
no two lists of terms read the same. They are the same in every process and on every machine. With a secret
they are HMACs, so that nobody else can find out what they were made of.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from uuid import UUID

LENGTH = 32
"""Of a tag, or of each of its halves, in hexadecimal digits: 128 bits of the digest are kept."""

_LONGEST_KEPT = 200  # characters

_BEGUN = sha256()  # to copy it costs less than to have OpenSSL look for the algorithm

_PLAIN = frozenset({str, int})
"""Their values are their texts."""

_OF_ONE_TEXT = frozenset({*_PLAIN, UUID, bytes})
"""Of these, what is equal has the same text; of times it may not, in the hour that comes twice in autumn."""


@dataclass(slots=True)  # not frozen: each request makes one, and that would double its cost
class Fingerprint:
    """What tells one state of a resource from every other.

    :param message: the :func:`message_of` the texts, numbers, times... that do.
    :param weak: whether they vouch for equivalent content only.
    :param verbatim: the opaque text that the application gave it, where it did.
    :param content: a text to which the message is no more than the beginning.
    """

    message: str
    weak: bool = False
    verbatim: str | None = None
    content: str | None = None
    _taken: tuple[bytes | None, str] | None = field(default=None, init=False, repr=False, compare=False)

    def digest(self, key: bytes | None = None) -> str:
        """Return the opaque text that stands for this state: 32 hexadecimal digits.

        :param key: a secret, for an HMAC in the place of a digest.
        """
        taken = self._taken  # by whatever thread, for whatever application
        if taken is not None and taken[0] == key:
            return taken[1]
        text = self.message if self.content is None else self.message + self.content
        self._taken = key, _digest(text.encode("utf-8", "surrogatepass"), key)
        return self._taken[1]


def digest(terms: Iterable[object], key: bytes | None = None) -> str:
    """Return the opaque text that stands for a list of terms: 32 hexadecimal digits.

    :param terms: numbers, UUIDs, texts, bytes, dates and times: whatever has one text for one value.
    :param key: a secret, for an HMAC in the place of a digest.
    :raises TypeError: for a term whose text would differ from process to process.
    """
    return fingerprint_of(*terms).digest(key)


def fingerprint_of(*terms: object) -> Fingerprint:
    """Return the state that some terms tell; those that were asked for last are kept, with their digests."""
    for term in terms:
        if type(term) not in _OF_ONE_TEXT:
            return Fingerprint(message_of(*terms))
    try:
        return _kept_fingerprint(*terms)
    except _TooLongError as error:
        return error.fingerprint


@lru_cache(maxsize=1024, typed=True)
def _kept_fingerprint(*terms: object) -> Fingerprint:
    state = Fingerprint(message_of(*terms))
    if len(state.message) > _LONGEST_KEPT:
        raise _TooLongError(state)
    return state


class _TooLongError(Exception):
    """What is raised is not kept."""

    def __init__(self, fingerprint: Fingerprint) -> None:
        super().__init__()
        self.fingerprint = fingerprint


def message_of(*terms: object) -> str:
    """Return the text of some terms, each with its length before it: no two lists of terms read the same.

    :raises TypeError: for a term whose text would differ from process to process.
    """
    message = ""
    for term in terms:
        text = str(term) if type(term) in _PLAIN else _text(term)
        message = f"{message}{len(text)}:{text}"
    return message


def digest_of_body(body: bytes, key: bytes | None = None, epoch: str = "") -> str:
    """Return the opaque text that stands for the bytes of a body.

    :param key: a secret, for an HMAC in the place of a digest.
    :param epoch: what caches compare besides.
    """
    text = _digest(b"4:body" + body, key)
    return f"{text}.{digest(('epoch', epoch), key)}" if epoch else text


def _digest(message: bytes, key: bytes | None) -> str:
    if key is not None:
        return hmac.digest(key, message, sha256).hex()[:LENGTH]
    begun = _BEGUN.copy()
    begun.update(message)
    return begun.hexdigest()[:LENGTH]


def _text(term: object) -> str:
    if type(term) is UUID:
        return term.hex
    if isinstance(term, bytes | bytearray | memoryview):
        return bytes(term).decode("latin-1")
    if isinstance(term, datetime) and term.tzinfo is not None:
        term = term.astimezone(UTC)  # the same instant, whatever time zone the connection is set to
    if type(term).__str__ is object.__str__ and type(term).__repr__ is object.__repr__:
        raise TypeError(
            f"{type(term).__name__} has no text of its own, so it cannot be part of an ETag: give it a "
            "__str__() that depends on its value alone."
        )
    return str(term)
