"""The decorators of views: ``etag_resource`` serves a resource, ``require_if_match`` protects it; ``exempt``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from itertools import takewhile
from types import FunctionType
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, overload

from flask import Response, request
from flask.views import MethodView, View

from flask_etag.audit import (
    Protection,
    Unprotected,
    exemption_of,
    mark,
    mark_exempt,
    protection_of,
    refuse_cache_below,
)
from flask_etag.backend import cause_of
from flask_etag.batches import Batch, Item
from flask_etag.decisions import decided, tell_answer, tell_refusal
from flask_etag.errors import ConditionalRequestError, WriteConflict
from flask_etag.exchange import EXPLANATION, Exchange, Unmade
from flask_etag.reading import read, read_body
from flask_etag.replays import Caller, Replay, replay_of
from flask_etag.resources import Parameters, Resource, in_sync
from flask_etag.writing import Target, write

P = ParamSpec("P")
Q = ParamSpec("Q")
T = TypeVar("T")
V = TypeVar("V", bound=type[MethodView])
S = TypeVar("S", bound=View)
F = TypeVar("F", bound=Callable[..., Any])

_UNCONDITIONAL = ("OPTIONS", "TRACE")

_Answer = Any  # what Flask makes a response of, or an awaitable of it; spelt out, mypy's errors fill a page


@overload
def etag_resource(resource: Resource[P, T | None], /) -> ConditionalView[P, T]: ...  # type: ignore[overload-overlap]
@overload
def etag_resource(view: V, /) -> V: ...
@overload
def etag_resource(view: Callable[P, _Answer], /) -> Callable[P, Response]: ...
def etag_resource(resource_or_view: Any, /) -> Any:
    """Serve a resource: its ETag is on the answer, and an unchanged read is a 304 before the view runs.

    The view takes what the resource's loader returned, alone or followed by all of the loader's arguments. It may
    be a function, an ``async`` function, a method of a ``MethodView``, or such a class, which decorates all its
    methods. Conditions are judged before the view runs (RFC 9110 section 13), but for OPTIONS and TRACE.
    A write is guarded as by :func:`require_if_match`, but one without conditions is let through.

    Directly above a view, without a resource, it is for reads: the tag is the SHA-256 digest of the body that the
    view answers. That saves the bytes of an unchanged answer and not the work. Streams and files are left alone.

    :param resource_or_view: a resource, which is a loader under :func:`~flask_etag.resource`; or a view.
    :raises TypeError: if it is neither.
    """
    if isinstance(resource_or_view, Resource):
        return ConditionalView(resource_or_view)
    if not (inspect.isfunction(resource_or_view) or _is_view_class(resource_or_view)):
        raise TypeError(
            f"@etag_resource takes a resource, or decorates a view, and was given {_name(resource_or_view)}."
        )
    return _decorated(resource_or_view, _answer_by_its_body, Protection(None))


@overload
def require_if_match(
    resource: Resource[P, T | None],
    /,
    *,
    create: Literal[False] = False,
    enforce: bool = True,
    replay: bool | Caller = False,
) -> ConditionalView[P, T]: ...
@overload
def require_if_match(
    resource: Resource[P, T | None],
    /,
    *,
    create: Literal[True],
    enforce: bool = True,
    replay: bool | Caller = False,
) -> ConditionalView[P, T | None]: ...
@overload
def require_if_match(
    resource: Resource[..., T | None],
    /,
    *,
    each: Callable[Q, Iterable[Item]],
    enforce: bool = True,
    replay: bool | Caller = False,
) -> ConditionalView[Q, list[T]]: ...
def require_if_match(
    resource: Resource[..., Any],
    /,
    *,
    create: bool = False,
    each: Callable[..., Iterable[Item]] | None = None,
    enforce: bool = True,
    replay: bool | Caller = False,
) -> ConditionalView[..., Any]:
    """Protect a resource: nothing overwrites a state of it that the sender has not seen.

    A request that writes is answered 428 without If-Match (RFC 6585 section 3), and 412 where If-Match names
    another state than the current one (RFC 9110 section 13.1.1), be it before the view runs or when a racing
    writer was first to commit. The new ETag is on the answer. Reads are served as by :func:`etag_resource`.

    :param resource: a resource: a loader under :func:`~flask_etag.resource`.
    :param create: whether the view may create what the URL names: where the loader returns ``None``, a PUT or POST
        with ``If-None-Match: *`` runs the view, which is handed the ``None``. Of two such requests at the same
        moment, one is a 412.
    :param each: for a request that writes several resources, all or none: a function of the URL's variables that
        reads the content, and returns for each item its ETag, as in If-Match, and the loader's arguments by name.
        The view is handed the list of objects, in this order; after a flush it puts the ETag of each into its
        answer, by :meth:`~flask_etag.Resource.etag_of`. One 412 names all items that are stale.
    :param enforce: whether a request that would be answered 428 is refused. With ``False`` it is told of and let
        pass, for this view alone, as ``ETAG_REQUIRE="report"`` does for the application.
    :param replay: whether to know a write that was done, and comes again since its answer was lost, by the version
        that it has left, and to answer it 2xx (RFC 9110 section 13.1.1): what a GET gives, or 204. Or a function
        that tells who sends it, as a text, so that equal requests of two users are told apart. It takes a model
        with :class:`~flask_etag.sqlalchemy.Versioned`, an ``ETAG_KEY`` and a view that commits once.
    :raises TypeError: if ``resource`` is no resource, an option has another type, or one does not go with another
        or with the resource.
    """
    if not isinstance(resource, Resource):
        raise TypeError(
            f"@require_if_match takes the resource that the view is for, and was given {_name(resource)}. A write "
            "has to know what it is about to change before it runs: put @resource above the function that loads "
            "it, say find_note; and @require_if_match(find_note) above the view."
        )
    for name, value in (("create", create), ("enforce", enforce)):
        if not isinstance(value, bool):
            raise TypeError(f"{name}= takes True or False, and was given {value!r}.")
    unprotected: Unprotected = "refused" if enforce else "reported"
    answers_again = replay_of(resource, replay)
    if each is None:
        return ConditionalView(resource, unprotected, create=create, replay=answers_again)
    if create or not callable(each) or inspect.iscoroutinefunction(each):
        raise TypeError(
            "each= takes a function, not async, that gives the ETag and the loader's arguments of each item, and "
            f"does not go with create=True; it was given {_name(each)}."
        )
    return _BatchView(resource, unprotected, each, answers_again)


def exempt(reason: str, /) -> Callable[[F], F]:
    """Mark a view that writes and needs no condition: the audit shows the reason. Nothing happens when it runs.

    Without it, ``flask etag routes --check`` fails where a PUT, PATCH or DELETE is not protected.

    :param reason: why two of these requests at the same moment cannot overwrite each other, say: a sentence.
    :raises TypeError: if the reason is no text, or what it decorates is no view, or is protected.
    """
    if not (isinstance(reason, str) and reason.strip()):
        raise TypeError(
            f"@exempt takes the reason why a view needs no condition, and was given {_name(reason)}: "
            '@exempt("adds only the caller\'s own favourite").'
        )

    def marked(view: F) -> F:
        if not (inspect.isfunction(view) or _is_view_class(view)):
            raise TypeError(
                f"{_name(view)} is no view: exempt a function, or a MethodView, or one of its methods."
            )
        mark_exempt(view, reason)
        _refuse_contradiction(view, protection_of(view))
        return view

    return marked


def _refuse_contradiction(view: Any, protection: Protection | None) -> None:
    if protection is not None and protection.required and exemption_of(view):
        raise TypeError(
            f"{_name(view)} is exempt and requires If-Match: one of the two is enough. In a class of which one "
            "method is exempt, decorate the other methods."
        )


class ConditionalView(Generic[P, T]):
    """A decorator for the view of a resource: it hands the view the object that the loader returned.

    :param resource: the resource.
    :param unprotected: what becomes of a write that does not name the state which it overwrites.
    :param create: whether a PUT or POST may create what the loader does not find.
    :param replay: how to answer a write that was done before; ``None`` for a 412.
    """

    def __init__(
        self,
        resource: Resource[..., Any],
        unprotected: Unprotected = "let pass",
        *,
        create: bool = False,
        replay: Replay | None = None,
    ) -> None:
        self._resource = resource
        self._parameters = resource.parameters
        self._unprotected: Unprotected = unprotected
        self._create = create
        self._replay = replay

    @overload
    def __call__(self, view: V, /) -> V: ...
    @overload
    def __call__(
        self, view: Callable[[T], _Answer] | Callable[Concatenate[T, P], _Answer], /
    ) -> Callable[P, Response]: ...
    @overload
    def __call__(
        self, view: Callable[[S, T], _Answer] | Callable[Concatenate[S, T, P], _Answer], /
    ) -> Callable[Concatenate[S, P], Response]: ...
    def __call__(self, view: Any, /) -> Any:
        """Decorate a view. The route and authentication belong above: what is below does not run on a 304 or 412.

        :raises TypeError: if ``view`` is no view, or takes no resource.
        """
        protection = Protection(
            self._resource, self._unprotected, creates=self._create, is_batch=isinstance(self, _BatchView)
        )
        return _decorated(view, self._answer, protection, self._parameters)

    def _answer(self, exchange: Exchange) -> Response:
        """Answer one request, by the story of a read or of a write."""
        try:
            if exchange.is_read:
                return read(exchange, self._resource)
            if exchange.method in _UNCONDITIONAL:
                return exchange.serve(self._resource.load(exchange.url_arguments))
        except Exception as error:
            cause = None if exchange.has_run_view else cause_of(error)
            if cause is not None:
                raise WriteConflict(cause) from error  # the loader has waited for a writer's lock in vain (SQLite)
            raise
        if self._replay is not None:
            return self._replay.write(exchange, self._unprotected, create=self._create)
        subject = Target(exchange, self._resource, exchange.preconditions(), create=self._create)
        return write(exchange, subject, self._unprotected)


class _BatchView(ConditionalView[P, T]):
    """A decorator for a view that writes several resources: it hands the view the list of their objects."""

    def __init__(
        self,
        resource: Resource[..., Any],
        unprotected: Unprotected,
        each: Callable[P, Iterable[Item]],
        replay: Replay | None,
    ) -> None:
        super().__init__(resource, unprotected, replay=replay)
        self._each: Callable[..., Iterable[Item]] = each
        self._parameters = Parameters.of(each)

    def _answer(self, exchange: Exchange) -> Response:
        """Answer one request, by the story of a write of several resources."""
        if exchange.is_read or exchange.method in _UNCONDITIONAL:
            raise RuntimeError(
                f"{request.endpoint}: each= is for writes, and this is {exchange.method}. Serve a collection by "
                "@etag_resource and a resource of its own."
            )
        if self._replay is not None:
            return self._replay.write_each(exchange, self._unprotected, self._each)
        return write(exchange, Batch(exchange, self._resource, self._each), self._unprotected)


def _answer_by_its_body(exchange: Exchange) -> Response:
    """Answer one request to a view without a resource, by the digest of the body."""
    if exchange.is_read:
        return read_body(exchange)
    if exchange.method in _UNCONDITIONAL:
        return exchange.serve()
    raise RuntimeError(
        f"{request.endpoint}: @etag_resource without a resource is for reads, and this is {exchange.method}. A "
        "write has to know what it is about to change before it runs: move what loads it into a function under "
        "@resource, say find_note, and decorate the view with @require_if_match(find_note)."
    )


def _decorated(
    view: Any, answer: Callable[[Exchange], Response], protection: Protection, loads_by: Parameters | None = None
) -> Any:
    """Return the conditional view of a view; or a class of views, with each of its methods decorated.

    :param answer: answers one request.
    :param protection: how the view is decorated, for the audit.
    :param loads_by: the parameters of the loader; ``None`` where there is none, so that the view gets the URL's.
    """
    if _is_view_class(view):
        for name in view.methods or ():
            method = getattr(view, name.lower(), None)
            inherited = name.lower() not in vars(view)
            if method is not None and not (inherited and protection_of(method)):
                setattr(view, name.lower(), _decorated(method, answer, protection, loads_by))
        return view
    if not inspect.isfunction(view):
        raise TypeError(f"{_name(view)} is no view: decorate a function, or a MethodView, or one of its methods.")
    if protection_of(view) is not None:
        raise TypeError(
            f"{view.__qualname__}() is decorated already: one of etag_resource and require_if_match is enough."
        )
    _refuse_contradiction(view, protection)
    resource = protection.resource
    if resource is not None:
        refuse_cache_below(view)
    function: Callable[..., Any] = in_sync(view) if inspect.iscoroutinefunction(view) else view
    arguments_of: _Sorting = _same_arguments
    sorted_by: frozenset[str] = frozenset()
    if loads_by is not None:
        arguments_of, sorted_by = _arguments_for(view, loads_by)
        function = _placing(function, _placed_in(view, loads_by))

    @functools.wraps(view)
    def conditional_view(*args: Any, **given: Any) -> Any:
        bound, made_by = function, None
        if args:
            owner = type(args[0])
            if len(args) > 1 or not (issubclass(owner, View) or _is_method_of(owner, conditional_view)):
                raise TypeError(_misplaced(view, args[0]))
            bound = functools.partial(function, args[0])
            # Flask makes the response of what its own method returns. Another one is handed what the view returns.
            if issubclass(owner, View) and owner.dispatch_request is not MethodView.dispatch_request:
                made_by = owner
        of_url, of_view = arguments_of(given) if sorted_by.isdisjoint(given) else (given, {})
        exchange = Exchange(bound, of_url, of_view, made_by)
        if EXPLANATION in exchange.environ:
            return exchange.environ[EXPLANATION].of(exchange, protection, answer)
        try:
            response = answer(exchange)
        except ConditionalRequestError as refusal:
            tell_refusal(exchange, resource, refusal)
            raise
        except Exception:
            tell_answer(exchange, resource, None)
            raise
        if made_by is not None and resource is None and isinstance(response, Unmade):
            return response.answer  # it is tagged, and told of, once it is made
        if decided.receivers or not exchange.is_read or exchange.settings.shows_decisions:
            tell_answer(exchange, resource, response)
        return response if made_by is None else exchange.handed_on(response)

    mark(view, conditional_view, protection)
    return conditional_view


_Arguments = dict[str, Any]
_Sorting = Callable[[_Arguments], tuple[_Arguments, _Arguments]]


def _same_arguments(given: _Arguments) -> tuple[_Arguments, _Arguments]:
    """Return the arguments that a view without a resource is called with, for the URL's and for the view's."""
    return given, given


def _arguments_for(view: Callable[..., Any], loads_by: Parameters) -> tuple[_Sorting, frozenset[str]]:
    """Return a function of what a view is called with: the URL's variables, and what the view takes of it all.

    A framework may call a view with what it has parsed, which is for the view, and without the URL's variables:
    flask-openapi3 does, and connexion. Then they are those of the request.

    :return: the function; and the names of which each tells, where it comes, that nothing is to be sorted: that
        these are the URL's variables, of which the view takes none. That is quicker to see than to call it.
    :raises TypeError: if the view takes no resource, or only some of the loader's arguments.
    """
    passed_on = _taken_by(view, loads_by)
    known = loads_by.required | loads_by.optional.keys()
    defaults = {name: loads_by.optional[name] for name in passed_on if name in loads_by.optional}
    parsed: frozenset[str] = frozenset()
    if not _takes_one(view):
        parameters = inspect.signature(view).parameters
        # The view's own defaults are as good.
        defaults = {name: value for name, value in defaults.items() if not _has_default(parameters[name])}
        parsed = frozenset(name for name, each in parameters.items() if _is_parsed_above(each)) - known

    def arguments_of(given: _Arguments) -> tuple[_Arguments, _Arguments]:
        of_url, besides = given, {}
        if parsed:
            besides = {name: given[name] for name in parsed if name in given}
            of_url = {name: value for name, value in given.items() if name not in besides}
        if not of_url if loads_by.is_open else known.isdisjoint(of_url) and (known or given):
            of_url = request.view_args or {}
            besides = {name: value for name, value in given.items() if name not in of_url}
        if passed_on:
            of_loader = {name: of_url[name] for name in passed_on if name in of_url}
            besides = {**defaults, **besides, **of_loader}
        return of_url, besides

    return arguments_of, frozenset() if passed_on or parsed or loads_by.is_open else known


def _placed_in(view: Callable[..., Any], loads_by: Parameters) -> dict[str, Any]:
    """Return the loader's arguments that a view takes before what a decorator below hands it: note, note_id, data.

    webargs, and so flask-smorest and APIFairy, hands that by its position, behind all that is there by position.

    :return: for the name of each, in their order, the view's own default.
    """
    if _takes_one(view):
        return {}
    parameters = inspect.signature(view).parameters.values()
    positional = [each for each in parameters if each.kind in _POSITIONAL and each.name != "self"][1:]
    known = loads_by.required | loads_by.optional.keys()
    placed = list(takewhile(lambda each: each.name in known, positional))
    takes_more = len(placed) < len(positional) or any(each.kind is each.VAR_POSITIONAL for each in parameters)
    is_to_be_placed = any(each.kind is each.POSITIONAL_ONLY for each in placed)
    if is_to_be_placed or (takes_more and hasattr(view, "__wrapped__")):
        return {each.name: each.default for each in placed}
    return {}


_OPEN = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _placing(function: Callable[..., Any], placed: dict[str, Any]) -> Callable[..., Any]:
    """Return a function that is given some of its arguments by name, and hands them on by position.

    :param placed: their names, in order, each with its default.
    """
    if not placed:
        return function

    def place(*args: Any, **given: Any) -> Any:
        return function(*args, *(given.pop(name, default) for name, default in placed.items()), **given)

    return place


# By these names, flask-openapi3 passes to a view what it has parsed; connexion, the body.
_PARSED_ABOVE = frozenset({"header", "cookie", "path", "query", "form", "body", "raw"})


def _taken_by(view: Callable[..., Any], loads_by: Parameters) -> frozenset[str]:
    """Return which of the loader's arguments a view takes after its resource: all that are required, or none.

    A loader of ``**variables`` takes whatever the URL names, so that a view may name any of these.

    :raises TypeError: if the view takes no resource, or only some of these arguments.
    """
    if _takes_one(view):
        return frozenset()
    parameters = list(inspect.signature(view).parameters.values())
    if parameters and parameters[0].name == "self":
        parameters = parameters[1:]
    if parameters and all(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        raise TypeError(
            f"{view.__qualname__}() takes keywords only, so that it cannot be handed its resource. In "
            "MethodView.decorators Flask passes keywords only: decorate the class, or its methods."
        )
    if not parameters:
        raise TypeError(
            f"{view.__qualname__}() takes no argument, so it would not get the resource that is loaded for "
            "it: let its first parameter be the resource."
        )
    rest = {parameter.name for parameter in parameters[1:]}
    taken = rest & (loads_by.required | loads_by.optional.keys())
    if taken and not loads_by.required <= taken:
        raise TypeError(
            f"{view.__qualname__}() takes only some of the loader's arguments: it gets the resource alone, or "
            f"followed by all of them: {', '.join(sorted(loads_by.required))}."
        )
    if loads_by.is_open:
        return frozenset(each.name for each in parameters[1:] if each.kind not in _OPEN)
    unknown = [
        parameter.name
        for parameter in parameters[1:]
        if not _has_default(parameter)
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and parameter.name not in taken
        and not _is_parsed_above(parameter)
    ]
    if unknown and not hasattr(view, "__wrapped__"):  # a decorator below ours may pass more
        raise TypeError(
            f"{view.__qualname__}() takes {', '.join(unknown)}, which its loader does not take, so that nothing "
            "would pass it: a view gets the resource alone, or followed by all of the loader's arguments."
        )
    return frozenset(taken)


def _is_parsed_above(parameter: inspect.Parameter) -> bool:
    return parameter.name in _PARSED_ABOVE and parameter.annotation is not parameter.empty


def _has_default(parameter: inspect.Parameter) -> bool:
    return parameter.default is not parameter.empty


def _takes_one(view: Callable[..., Any]) -> bool:
    """Tell whether a view is a plain function of one argument: most are, and signature() is slow."""
    if not isinstance(view, FunctionType) or vars(view):
        return False
    code = view.__code__
    is_open = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    return (code.co_argcount, code.co_kwonlyargcount) == (1, 0) and not is_open and code.co_varnames[0] != "self"


def _misplaced(view: Callable[..., Any], argument: object) -> str:
    """Return what is wrong where a conditional view is called with a positional argument."""
    if inspect.isfunction(argument) or _is_view_class(argument):
        return (
            f"{view.__qualname__}() is no resource: put @resource above it, if it loads what the view is for. "
            "@etag_resource(find_note) takes a resource; @etag_resource alone decorates a view."
        )
    return (
        f"{view.__qualname__}() was called with a positional argument. A decorator that passes one belongs "
        "below this one. From the top: the route, authentication, etag_resource or require_if_match, then what "
        "parses or serialises."
    )


def _is_method_of(owner: type, view: Callable[..., Any]) -> bool:
    """Tell whether a class that is none of Flask's has a view as its method: flask-openapi3 has such classes."""
    method: Any = getattr(owner, view.__name__, None)
    return method is not None and inspect.unwrap(method, stop=lambda step: step is view) is view


def _is_view_class(view: object) -> bool:
    return isinstance(view, type) and issubclass(view, MethodView)


def _name(value: object) -> str:
    return getattr(value, "__qualname__", None) or repr(value)
