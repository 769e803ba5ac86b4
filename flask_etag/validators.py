"""Where the entity tag of an object comes from.

Tags are opaque: the text of a SHA-256 digest, over terms of which each is preceded by its length, so that
no two lists of terms read the same. They are the same in every process and on every machine.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256

from flask_etag.entity_tags import EntityTag
from flask_etag.guards import store_of

_DIGEST_BYTES = 24
"""192 bits of the digest are kept: 32 characters of URL-safe Base64, without padding."""


def etag_of(target: object) -> EntityTag | None:
    """Return the entity tag of the current state of an object, or ``None`` where it has none.

    An object's own ``__etag__()`` comes first: it returns an :class:`EntityTag`, a ``str`` that is the opaque
    part of a strong one, or ``None``. An object of a store that knows versions is tagged by its version.

    :raises TypeError: if nothing says what the tag of such an object is.
    :raises ValueError: if the object has no version yet.
    """
    own = getattr(type(target), "__etag__", None)
    if own is not None:
        etag: EntityTag | str | None = own(target)
        return EntityTag(etag) if isinstance(etag, str) else etag
    store = store_of(target)
    if store is None:
        raise TypeError(
            f"{type(target).__name__} does not say what its ETag is: give it a method __etag__() that "
            "returns a str, or serve a SQLAlchemy object whose model has a version."
        )
    return EntityTag(digest(store.state_of(target)))


def digest(terms: Iterable[object]) -> str:
    """Return the opaque text that stands for a list of terms: 32 URL-safe characters.

    :param terms: numbers, UUIDs, texts, bytes, dates and times: whatever has one text for one value.
    :raises TypeError: for a term whose text would differ from process to process.
    """
    hashed = sha256()
    for term in terms:
        encoded = _encode(term)
        hashed.update(b"%d:" % len(encoded))
        hashed.update(encoded)
    return urlsafe_b64encode(hashed.digest()[:_DIGEST_BYTES]).decode("ascii")


def _encode(term: object) -> bytes:
    if isinstance(term, str):
        return term.encode("utf-8", "surrogatepass")
    if isinstance(term, bytes | bytearray | memoryview):
        return bytes(term)
    if isinstance(term, datetime) and term.tzinfo is not None:
        term = term.astimezone(UTC)  # the same instant, whatever time zone the connection is set to
    if type(term).__str__ is object.__str__ and type(term).__repr__ is object.__repr__:
        raise TypeError(
            f"{type(term).__name__} has no text of its own, so it cannot be part of an ETag: give it a "
            "__str__() that depends on its value alone."
        )
    return str(term).encode("utf-8", "surrogatepass")
