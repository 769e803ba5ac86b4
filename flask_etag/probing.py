"""A question that is cheaper than a load, and tells the state of a resource all the same."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask_etag import guards
from flask_etag.validators import ContentHash, Custom, Found, Validator


class Probe:
    """What ``@resource(probe=...)`` names: a model, or a function of the URL's variables.

    :param asked: either of them.
    :param validator: what says which state an object is in.
    :param last_modified: what the resource's ``last_modified=`` names.
    :raises TypeError: if it is neither, or if a model is to tell more than its version.
    """

    def __init__(self, asked: object, validator: Validator, last_modified: object) -> None:
        if not callable(asked) or inspect.iscoroutinefunction(asked):
            raise TypeError(
                "probe= takes a model, or a function of the URL's variables, not async, that returns an object or "
                f"select(Report).where(...); and was given {asked!r}."
            )
        if isinstance(asked, type) and _maker_of_more(asked, validator) is not None:
            raise TypeError(
                f"probe={asked.__name__} reads a version, and {_maker_of_more(asked, validator)} needs more: give "
                "the model a version, and leave etag= out; or let probe= be a function that returns an object "
                "with what the tag is made of."
            )
        self._asked: Any = asked
        self._attributes = frozenset(name for name in (validator.column, last_modified) if isinstance(name, str))

    def __call__(self, url_arguments: dict[str, Any]) -> Any:
        """Return what tells the state of what a URL names; ``None`` where that is not known."""
        question = self._asked if isinstance(self._asked, type) else self._asked(**url_arguments)
        answer = guards.probe(question, url_arguments, self._attributes)
        if isinstance(answer, type):
            raise TypeError(f"probe={answer.__name__} is no model of a store that is known.")
        return answer

    @contextmanager
    def explained(self, name: str) -> Iterator[None]:
        """Explain an error that is met while the answer is looked at: what is asked for may not be there."""
        try:
            yield
        except Exception as error:
            error.add_note(
                f"This was met in what the probe of {name} found. Of a model, or a select, no more is read than "
                "the key, the version, and what version_column() and last_modified= name. For etag=, "
                "__etag__(), last_modified=, headers= or variant= to use more, let probe= be a function that "
                "returns an object which has that."
            )
            raise


def _maker_of_more(model: type, validator: Validator) -> str | None:
    """Name what makes the tag of a model of other things than its version; ``None`` where nothing does."""
    if isinstance(validator, ContentHash):
        return "content_hash()"
    if isinstance(validator, Custom):
        return f"etag={validator.source}"
    return "its __etag__()" if isinstance(validator, Found) and hasattr(model, "__etag__") else None
