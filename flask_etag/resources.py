"""Resources: how the object that a URL names is loaded, and where its entity tag comes from."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from types import FunctionType
from typing import Any, Generic, ParamSpec, TypeVar, overload

from flask import current_app, request
from werkzeug.exceptions import NotFound
from werkzeug.http import http_date

from flask_etag.entity_tags import EntityTag, field_of, opaque_of
from flask_etag.fingerprints import Fingerprint, digest
from flask_etag.preconditions import Representation
from flask_etag.settings import Settings, settings_of
from flask_etag.validators import ContentHash, Validator, canonical_json, validator

Variant = Callable[[Any], Any] | ContentHash | Mapping[str, Callable[[Any], Any] | ContentHash]
"""What ``variant=`` takes."""

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

HASHED = "flask_etag.hashed"
"""The key of a read's environ where ``content_of()`` finds (resource, object, JSON text): what was hashed last."""

_ABSENT_ROW = "flask_etag.absent_row"
"""The key of an environ where ``absent_row()`` finds (resource, object): what stands for nothing."""

_NOTHING_HASHED = (None, None, "")

_SHOWN_AFTER = timedelta(seconds=1)  # the resolution of an HTTP date


class Resource(Generic[P, T_co]):
    """A loader with its options. Made by :func:`resource`.

    A resource can be called, which calls the loader as the plain function that it was: so loaders compose.

    :ivar parameters: the names of the loader's parameters.
    :ivar has_fields: whether a read has to ask for more than the tag: declared fields, or Last-Modified.
    :ivar shows_more: whether its variant may show other rows, as all but texts may: known once it was asked.
    :ivar swaps: whether its views write by a compare-and-set of their own.
    """

    def __init__(
        self,
        loader: Callable[P, T_co],
        *,
        validator: Validator,
        last_modified: Callable[[Any], datetime | None] | None = None,
        headers: Callable[[Any], Mapping[str, str]] | None = None,
        variant: Callable[[Any], Any] | None = None,
        lock: Callable[P, AbstractContextManager[Any]] | None = None,
        swaps: bool = False,
        absent: Callable[[Any], bool] | None = None,
    ) -> None:
        functools.update_wrapper(self, loader)
        self._loader = loader
        self.is_async: bool = inspect.iscoroutinefunction(loader)
        self._load: Callable[..., Any] = in_sync(loader) if self.is_async else loader
        self._last_modified = last_modified
        self._headers = headers
        self.has_fields: bool = headers is not None or last_modified is not None
        self._variant = variant
        self.shows_more: bool = False
        self._lock = lock
        self.has_lock: bool = lock is not None
        self.swaps = swaps
        self._absent = absent
        self.validator = validator
        self.name: str = loader.__qualname__.rpartition("<locals>.")[2]
        self.parameters: Parameters = Parameters.of(loader)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co:
        """Call the loader."""
        return self._loader(*args, **kwargs)

    def load(self, url_arguments: dict[str, Any], *, may_be_absent: bool = False) -> Any:
        """Load the object that a URL names.

        :param url_arguments: the URL's variables, by name.
        :param may_be_absent: whether to return ``None`` if the loader does: the view may create the object.
        :raises werkzeug.exceptions.NotFound: if the loader returns ``None``, otherwise, or an object that
            stands for nothing.
        """
        target = self._load(**url_arguments)
        if self._absent is not None:
            request.environ[_ABSENT_ROW] = None
            if target is not None and self.stands_for_nothing(target):
                request.environ[_ABSENT_ROW] = self, target
                target = None
        if target is None and not may_be_absent:
            raise NotFound
        return target

    def stands_for_nothing(self, target: Any) -> bool:
        """Tell whether ``absent=`` takes an object for nothing: its row is there, and is deleted, say."""
        return self._absent is not None and bool(self._absent(target))

    def absent_row(self) -> T_co | None:
        """Return the row that was found and stands for nothing, as ``absent=`` says; ``None`` where there is none.

        For a view under ``create=True`` that was handed ``None``: it revives the row, which is guarded as any.

        :raises RuntimeError: outside of a request.
        """
        found = request.environ.get(_ABSENT_ROW)
        return None if found is None or found[0] is not self else found[1]

    def locked(self, url_arguments: dict[str, Any]) -> AbstractContextManager[Any]:
        """Return the lock that ``lock=`` gives for a URL: a context manager, not entered yet.

        :param url_arguments: the URL's variables, by name.
        :raises TypeError: if it gives anything else.
        """
        function: Callable[..., AbstractContextManager[Any]] | None = self._lock
        lock = nullcontext() if function is None else function(**url_arguments)
        if not isinstance(lock, AbstractContextManager):
            raise TypeError(
                f"lock= of {self.name} gave {lock!r}: it has to give a context manager, not an async one."
            )
        return lock

    def opaque(self, target: Any, fingerprint: Fingerprint, settings: Settings) -> str:
        """Return the opaque text of an object's tag: its state half alone, or followed by a dot and a second half.

        :param fingerprint: the fingerprint that the resource's validator has made of the object.
        """
        if self._variant is not None or settings.epoch:
            second_half = self._second_half(target, settings)
            if second_half is not None:
                return f"{fingerprint.digest(settings.key)}.{second_half}"
        return fingerprint.digest(settings.key) if fingerprint.verbatim is None else fingerprint.verbatim

    def etag_field(self, target: Any, settings: Settings) -> str | None:
        """Return the value of the field ETag for an object; ``None`` where the object has no tag."""
        fingerprint = self.validator(target)
        return None if fingerprint is None else self.field(target, fingerprint, settings)

    def field(self, target: Any, fingerprint: Fingerprint, settings: Settings) -> str:
        """Return the value of the field ETag for an object.

        :param fingerprint: the fingerprint that the resource's validator has made of the object.
        """
        if self._variant is None and not settings.epoch:
            return fingerprint.etag_field(settings.key)
        return field_of(self.opaque(target, fingerprint, settings), fingerprint.weak)

    def representation(
        self, target: Any, fingerprint: Fingerprint | None, settings: Settings, field: str | None = None
    ) -> Representation:
        """Return an object's current representation, with which a request's conditions are compared.

        :param fingerprint: the fingerprint that the resource's validator has made of the object.
        :param field: the value of the field ETag for the object, as :meth:`field` gives it, if it has a tag.
        """
        modified = None if self._last_modified is None else self._modified(target)
        shown = modified is not None and _is_to_be_shown(modified)
        if fingerprint is None or field is None:
            return Representation(None, modified, shows_last_modified=shown)
        etag = EntityTag.trusted(opaque_of(field), fingerprint.weak)
        former = tuple(fingerprint.digest(key) for key in settings.former_keys)
        return Representation(
            etag, modified, fingerprint.digest(settings.key), fingerprint.verbatim, shown, former
        )

    def _modified(self, target: Any) -> datetime | None:
        """Return when an object was last changed, as ``last_modified=`` says; ``None`` where that is not known."""
        modified = self._last_modified and self._last_modified(target)
        if modified is None or isinstance(modified, datetime):
            return modified
        raise TypeError(f"last_modified= of {self.name} gave {modified!r}: it has to give a datetime or None.")

    def _second_half(self, target: Any, settings: Settings) -> str | None:
        """Return the digest of variant and epoch, which only reads compare; ``None`` where there is neither."""
        variant = None if self._variant is None else self._variant(target)
        if variant is None:
            return digest(("epoch", settings.epoch), settings.key) if settings.epoch else None
        if isinstance(variant, str):
            return digest(("variant", settings.epoch, variant), settings.key)
        self.shows_more = True
        try:
            return digest(("variant", settings.epoch, "content", canonical_json(variant)), settings.key)
        except TypeError as error:
            raise TypeError(f"variant= of {self.name} gave {variant!r}, which JSON cannot say.") from error

    def fields(self, target: Any, current: Representation) -> Mapping[str, str]:
        """Return the fields that a 200 and its 304 share, besides ETag: the declared ones, and Last-Modified."""
        fields = {} if self._headers is None else self._headers(target)
        if not isinstance(fields, Mapping):
            raise TypeError(f"headers= of {self.name} gave {fields!r}: it has to give a mapping of fields.")
        if current.last_modified is None or not current.shows_last_modified:
            return fields
        return {**fields, "Last-Modified": http_date(current.last_modified)}

    def content_of(self, target: Any) -> str:
        """Return the JSON text that a ``content_hash`` hashes: a read can answer it, and need not dump once more.

        A view that reads answers ``Response(find_note.content_of(note), mimetype="application/json")``. In a GET
        or HEAD it is the text that was hashed to judge the request; anywhere else the object is dumped again,
        since the view may have changed it.

        :raises TypeError: if the resource's tag is no ``content_hash``.
        """
        try:
            environ = request._get_current_object().environ  # type: ignore[attr-defined]
        except RuntimeError:  # there is no request
            environ = {}
        hashed: tuple[object, object, str] = environ.get(HASHED, _NOTHING_HASHED)
        if hashed[0] is self and hashed[1] is target:
            return hashed[2]
        fingerprint = self.validator(target)
        if fingerprint is None or fingerprint.content is None:
            raise TypeError(f"{self.name} has no content_of(): its tag is no content_hash().")
        return fingerprint.content

    def etag_of(self, target: Any) -> EntityTag:
        """Return the entity tag of an object in hand: for the answer to a POST that made it, after a flush.

        :raises ValueError: if the object has no tag, or none yet.
        :raises TypeError: if nothing says what the tag of such an object is.
        :raises RuntimeError: outside of an application context: the configuration says how tags are made.
        """
        settings = settings_of(current_app)
        fingerprint = self.validator(target)
        if fingerprint is None:
            raise ValueError(f"This {type(target).__name__} has no ETag.")
        return EntityTag.trusted(self.opaque(target, fingerprint, settings), fingerprint.weak)


class AsyncResource(Resource[P, T_co]):
    """A resource whose loader is ``async``: calling it gives an awaitable."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T_co]:  # type: ignore[override]
        """Call the loader."""
        return self._loader(*args, **kwargs)  # type: ignore[return-value]


class Declaration:
    """What ``@resource(...)`` returns, before it decorates a loader: the options."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options

    @overload
    def __call__(self, loader: Callable[P, Awaitable[T]], /) -> AsyncResource[P, T]: ...
    @overload
    def __call__(self, loader: Callable[P, T], /) -> Resource[P, T]: ...
    def __call__(self, loader: Callable[P, Any], /) -> Resource[P, Any]:
        """Decorate a loader.

        :raises TypeError: if ``loader`` is no function.
        """
        if not inspect.isroutine(loader):
            raise TypeError(
                f"@resource decorates the function that loads what a URL names, and was given {loader!r}."
            )
        kind = AsyncResource if inspect.iscoroutinefunction(loader) else Resource
        return kind(loader, **self._options)


@overload
def resource(loader: Callable[P, Awaitable[T]], /) -> AsyncResource[P, T]: ...
@overload
def resource(loader: Callable[P, T], /) -> Resource[P, T]: ...
@overload
def resource(
    *,
    etag: Validator | Callable[[Any], str | EntityTag | None] | None = None,
    last_modified: str | Callable[[Any], datetime | None] | None = None,
    headers: Mapping[str, str] | Callable[[Any], Mapping[str, str]] | None = None,
    variant: Variant | None = None,
    lock: Callable[..., AbstractContextManager[Any]] | None = None,
    swaps: bool = False,
    absent: Callable[[Any], bool] | None = None,
) -> Declaration: ...
def resource(
    loader: Callable[..., Any] | None = None,
    /,
    *,
    etag: object = None,
    last_modified: object = None,
    headers: object = None,
    variant: object = None,
    lock: object = None,
    swaps: object = False,
    absent: object = None,
) -> Resource[..., Any] | Declaration:
    """Declare what a URL names: a decorator for the function that loads it.

    The function takes the URL's variables and returns the object that they name. Where there is none, it
    returns ``None`` or aborts, and the answer is 404. It may be called more than once in a request, so it
    has no side effects. It may be ``async``.

    :param etag: where the tag comes from: :func:`~flask_etag.version_column`, :func:`~flask_etag.content_hash`, or
        a function of the object that returns the opaque text of a strong tag, an :class:`~flask_etag.EntityTag`,
        or ``None`` where there is no tag. Without it: the object's own ``__etag__()``, the version of a
        SQLAlchemy object, or the tags of the members of a sequence of such objects.
    :param last_modified: an attribute, or a function of the object, that gives a datetime: for Last-Modified and
        its two preconditions (RFC 9110 section 8.8.2). A naive one is UTC.
    :param headers: other fields that a 200 and its 304 share, on GET and HEAD: a mapping, or a function of the
        object that returns one (RFC 9110 section 15.4.5).
    :param variant: a function of the object that tells which representation of it this request gets, as a text, or
        as whatever JSON can say; ``None`` for the only one. Or :func:`~flask_etag.content_hash`, of what is shown
        besides the object's own state: an embedded author, a count. Or a mapping of several, by names of your
        own. Reads compare it, writes do not.
    :param lock: a function of the URL's variables that returns a context manager, held from the load to the end
        of a view that writes: for objects that are not kept by SQLAlchemy. A lock that raises
        :class:`TimeoutError` when it is entered makes the request a 409.
    :param swaps: whether the views that write do that by a compare-and-set of their own, for a store that has one,
        and raise :class:`~flask_etag.Stale` when it finds another state. Then they count as guarded, and put the
        new ETag on their answers themselves.
    :param absent: a function of the object that tells whether it stands for nothing, as one that is soft-deleted:
        then the answers are those for ``None``, and with ``create=True`` the view finds it by
        :meth:`Resource.absent_row`, guarded as any.
    :raises TypeError: if ``loader`` is no function, or an option has another type.
    """
    options = {
        "validator": validator(etag),
        "last_modified": _attribute(last_modified, "last_modified"),
        "headers": _mapping(headers),
        "variant": _variant(variant),
        "lock": _function(lock, "lock"),
        "swaps": swaps,
        "absent": _function(absent, "absent"),
    }
    if not isinstance(swaps, bool):
        raise TypeError(f"swaps= takes True or False, and was given {swaps!r}.")
    declaration = Declaration(options)
    return declaration if loader is None else declaration(loader)


def _function(value: Any, option: str, besides: str = "") -> Any:
    if value is None or (callable(value) and not inspect.iscoroutinefunction(value)):
        return value
    raise TypeError(f"{option}= takes a function{besides}, not async, and was given {value!r}.")


def _variant(value: Any) -> Any:
    """Return the one function of a variant: of several, it gives the values of those that give one, by name."""
    if isinstance(value, ContentHash):
        return value.dump
    if not isinstance(value, Mapping):
        return _function(value, "variant", ", content_hash(schema), or a mapping of several")
    several = {name: _variant(each) for name, each in value.items()}

    def variant(target: Any) -> dict[str, Any] | None:
        given = {name: each(target) for name, each in several.items()}
        return {name: each for name, each in given.items() if each is not None} or None

    return variant


def _attribute(value: Any, option: str) -> Any:
    return (
        attrgetter(value) if isinstance(value, str) else _function(value, option, " or the name of an attribute")
    )


def _mapping(value: Any) -> Any:
    if isinstance(value, Mapping):
        return lambda _: value
    return _function(value, "headers", " or a mapping")


@dataclass(frozen=True, slots=True)
class Parameters:
    """The names of a function's parameters.

    :param required: those that a URL has to give.
    :param optional: the defaults of the others, which are no variables of a URL, unless it gives them.
    :param is_open: whether it takes any others too: ``**kwargs``.
    """

    required: frozenset[str]
    optional: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    is_open: bool = False

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Parameters:
        """Read the parameters of a function."""
        if isinstance(function, FunctionType) and not vars(function):  # most are plain, and signature() is slow
            code = function.__code__
            if not (function.__defaults__ or code.co_kwonlyargcount or code.co_flags & inspect.CO_VARKEYWORDS):
                return cls(frozenset(code.co_varnames[: code.co_argcount]))
        kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        parameters = inspect.signature(function).parameters.values()
        named = [each for each in parameters if each.kind not in kinds]
        return cls(
            frozenset(each.name for each in named if each.default is each.empty),
            {each.name: each.default for each in named if each.default is not each.empty},
            any(each.kind is each.VAR_KEYWORD for each in parameters),
        )


def in_sync(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return an ``async`` function as one that can be called: the application's ``ensure_sync()`` runs it."""

    def run(*args: Any, **kwargs: Any) -> Any:
        return current_app.ensure_sync(function)(*args, **kwargs)

    return run


def _is_to_be_shown(modified: datetime) -> bool:
    """Tell whether no later write can get the same date, in whole seconds (RFC 9110 section 8.8.2.2)."""
    if modified.tzinfo is None:
        modified = modified.replace(tzinfo=UTC)
    return datetime.now(UTC) - modified >= _SHOWN_AFTER
