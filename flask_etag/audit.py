"""The audit of decorated views: what protects each route, and which rows a view shows that do not move its tag.

``flask etag routes`` shows the first; in debug and testing mode the log warns of the second. The first request to
an application finds the views that are decorated above their route, where the decorator has no effect.
"""

from __future__ import annotations

import json
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal
from weakref import WeakSet, ref

import click
from flask import (
    Flask,
    Request,
    Response,
    current_app,
    got_request_exception,
    request,
    request_finished,
    request_started,
)
from flask.cli import with_appcontext
from flask.views import MethodView
from werkzeug.http import is_resource_modified
from werkzeug.local import LocalProxy
from werkzeug.routing import Rule

from flask_etag import log
from flask_etag.backend import backend, owner_of
from flask_etag.exchange import JUDGED, TAGGED, UNDECLARED, Exchange, is_answered_by_304, shared_fields
from flask_etag.resources import Resource
from flask_etag.settings import Settings, settings_of, watch
from flask_etag.validators import Found

_PROTECTION = "__flask_etag_protection__"
_EXEMPTION = "__flask_etag_exemption__"
_DECORATED_AS = "__flask_etag_decorated_as__"

_HEADINGS = ("Route", "Method", "Resource", "Tag", "Protection")
_WRITES = ("PUT", "PATCH", "DELETE")
_IS_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch  # RFC 9110 section 5.6.2
_CAN_BE_SENT = re.compile(r"[\t -~\x80-\xff]*").fullmatch
_GUARDED_BY = {"guarded": "its version", "held": "its row"}

_apps: WeakSet[Flask] = WeakSet()


# Which views are decorated, and how.

Unprotected = Literal["refused", "reported", "let pass"]
"""What becomes of a request that sets no condition on what it overwrites.

It is answered 428, unless ``ETAG_REQUIRE`` is "report"; it is told of and let pass; or it is let pass.
"""


@dataclass(frozen=True, slots=True)
class Protection:
    """How a view is decorated.

    :param resource: the resource that the view serves; ``None`` where its tag is the digest of the body.
    :param unprotected: what becomes of a write that does not name the state which it overwrites.
    :param creates: whether a PUT or POST may create what the loader does not find.
    :param is_batch: whether one request writes several resources: ``each=``.
    """

    resource: Resource[..., Any] | None
    unprotected: Unprotected = "let pass"
    creates: bool = False
    is_batch: bool = False

    @property
    def required(self) -> bool:
        """Whether a write has to name the state that it overwrites, be it only for a report."""
        return self.unprotected != "let pass"


def mark(view: Callable[..., Any], conditional: Callable[..., Any], protection: Protection) -> None:
    """Note on a view, and on what the decorator made of it, that the view is decorated.

    :param view: the view as it was: if Flask has registered this one, the decorator has no effect.
    :param conditional: what the decorator made of it.
    :param protection: how it was decorated.
    """
    vars(conditional).pop(_DECORATED_AS, None)  # functools.wraps has copied the view's
    setattr(conditional, _PROTECTION, protection)
    for step in _unwrapped(view):  # the route may be further below: then Flask has registered what this wraps
        setattr(step, _DECORATED_AS, [*getattr(step, _DECORATED_AS, ()), ref(conditional)])


def protection_of(view: Callable[..., Any]) -> Protection | None:
    """Return how a view is decorated, also through decorators above ours that use ``functools.wraps``."""
    return getattr(view, _PROTECTION, None)


def mark_exempt(view: Callable[..., Any], reason: str) -> None:
    """Note on a view, or on a class of views, why it needs no condition."""
    setattr(view, _EXEMPTION, reason)


def exemption_of(view: Callable[..., Any]) -> str | None:
    """Return why a view needs no condition; ``None`` where nobody has said so."""
    return getattr(view, _EXEMPTION, None)


def views_of(app: Flask) -> Iterator[tuple[Rule, str, Callable[..., Any]]]:
    """Yield for every route of an application its rule, a method, and the view that answers that."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        view = app.view_functions.get(rule.endpoint)
        if view is None:
            continue
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield rule, method, _answering(view, method)


def all_apps() -> list[Flask]:
    """Return all applications of this process that have an ``ETag``: one may be mounted in another."""
    return list(_apps)


def undecorated_views(app: Flask, method: str) -> dict[str, Callable[..., Any]]:
    """Return, by their endpoints, the views of an application that are not decorated for a method."""
    return {
        endpoint: view
        for endpoint, view in app.view_functions.items()
        if protection_of(_answering(view, method)) is None
    }


def _answering(view: Callable[..., Any], method: str) -> Callable[..., Any]:
    """Return what answers a method: that method of a class of views, or the view itself."""
    name = "get" if method == "HEAD" else method.lower()
    answering: Callable[..., Any] = getattr(getattr(view, "view_class", None), name, view)
    return answering


def audit(app: Flask) -> None:
    """Register the check at an application's first request, and the command ``flask etag``."""
    _apps.add(app)
    app.cli.add_command(etag)
    # A receiver of its own for each application: once that is disconnected, blinker has nothing to look for at the
    # other requests, as it would have of one that all of them share.
    receiver = app.extensions[_RECEIVER] = partial(_check_views)
    request_started.connect(receiver, app)
    got_request_exception.connect(_tell_of_conflict, app)


def _unreachable_views(app: Flask, apps: list[Flask]) -> list[str]:
    """Return the endpoints of an application whose view was decorated above its route, so that Flask runs it bare.

    :param apps: all applications: a view that one of them runs bare, and another decorated, is no mistake.
    """
    reached = {id(step) for other in apps for view in other.view_functions.values() for step in _unwrapped(view)}
    found = []
    for endpoint, view in app.view_functions.items():
        conditionals = [conditional() for conditional in getattr(view, _DECORATED_AS, ())]
        if conditionals and not any(id(conditional) in reached for conditional in conditionals):
            found.append(endpoint)
    return found


def _unwrapped(view: Callable[..., Any] | None) -> Iterator[Callable[..., Any]]:
    """Yield a view, the function that it wraps, and so on."""
    while view is not None:
        yield view
        view = getattr(view, "__wrapped__", None)


# By the package of the decorator: what is wrong with an answer for which it does not run.
_STRANGERS = "so that strangers are answered"
_WRONG_BELOW = {
    "flask_httpauth": _STRANGERS,
    "flask_jwt_extended": _STRANGERS,
    "flask_login": _STRANGERS,
    "flask_principal": _STRANGERS,
    "flask_security": _STRANGERS,
    "flask_limiter": "so that they are not limited",
    "flask_cors": "so that scripts from elsewhere cannot read them",
}


# Whose decorators store answers by a key that does not change with the record.
_CACHES = {"flask_caching", "dogpile"}


def guards_below(app: Flask) -> list[str]:
    """Say which views have a known guard of access below our decorator, where it does not run for every answer."""
    return [
        f"{endpoint}: a decorator of {package} stands below etag_resource or require_if_match. It does not run "
        f"for a 304, 404, 412 or 428, {_WRONG_BELOW[package]}. Write it above, below the route."
        for endpoint, view in app.view_functions.items()
        for package in sorted(_WRONG_BELOW.keys() & _packages_below(view))
    ]


def _packages_below(view: Callable[..., Any]) -> set[str]:
    """Return the packages whose decorators stand below ours, in a view or in the methods of its class."""
    view_class = getattr(view, "view_class", None)
    methods = [getattr(view_class, name.lower(), None) for name in getattr(view_class, "methods", None) or ()]
    found: set[str] = set()
    for answering in (view, *methods):
        is_below = False
        for step in _unwrapped(answering):  # each decorator has wrapped the one below in a function of its own
            module = _module_of(step)
            if is_below:
                found.add(module.partition(".")[0])
            is_below = is_below or module == "flask_etag.decorators"
    return found


def _module_of(view: Callable[..., Any]) -> str:
    """Return the name of the module that a function was written in, whatever it says of itself; or nothing."""
    name: str = getattr(view, "__globals__", {}).get("__name__", "")
    return name


def refuse_cache_below(view: Callable[..., Any]) -> None:
    """Refuse a view that a known cache's decorator wraps, below ours: its key is the URL, or the arguments' names.

    Once the record has changed, the cache would answer the old body, and our decorator put the new tag on it.

    :raises TypeError: if it is such a view.
    """
    for step in _unwrapped(view):
        wrapper = _module_of(step)
        # dogpile's wrapper is made by a library of its own; of dogpile there is a function among its attributes.
        attribute = getattr(getattr(step, "invalidate", None), "__module__", None) or ""
        if not _CACHES.isdisjoint({wrapper.partition(".")[0], attribute.partition(".")[0]}):
            raise TypeError(
                f"{view.__qualname__}() is cached below etag_resource or require_if_match, by a key that stays "
                "when the record changes: it would answer an old body under the new ETag, whose save is not "
                'refused. Cache in the view, under the tag: key = f"note/{find_note.etag_of(note)}", then '
                "cache.get(key) and cache.set(key, body). See the docs, 'Caching on the server'."
            )


def _check_views(app: Flask, **_: Any) -> None:
    """Refuse an application in which a view is decorated above its route. Its first request asks, and no other."""
    unreachable = _unreachable_views(app, list(_apps))
    if unreachable:
        raise RuntimeError(
            f"The view of {', '.join(unreachable)} is decorated above its route, where nothing protects it: "
            "Flask has registered the view itself. Write the route above etag_resource and require_if_match."
        )
    receiver = app.extensions.pop(_RECEIVER, None)
    if receiver is None:
        return  # another thread is doing the rest
    request_started.disconnect(receiver)
    if _is_answered_for(app):
        # By after_request(), Flask would ask at each request whether it is async: that takes longer than the rest.
        app.process_response = partial(_process_response, app.process_response)  # type: ignore[method-assign]
    for warning in guards_below(app):
        log.logger.warning(warning)
    if app.debug or app.testing:  # not known before: who runs the application sets them
        watch(app)
        request_finished.connect(_check_tag, app)
        request_finished.connect(_check_fields, app)


_RECEIVER = "flask_etag.receiver"
"""The key in ``app.extensions`` of what waits for the first request."""

# What answers a request, by what runs before its view, and by that.
_DISPATCHING = ("full_dispatch_request", "preprocess_request", "dispatch_request")


def _is_answered_for(app: Flask) -> bool:
    """Tell whether anything may answer for a decorated view, as a cache does: what runs before it, or is above it.

    Where nothing does, no answer of the application has to be looked at.
    """
    hooks = (*app.before_request_funcs.values(), *app.url_value_preprocessors.values())
    dispatching = (getattr(getattr(app, name), "__func__", None) is getattr(Flask, name) for name in _DISPATCHING)
    return any(hooks) or not all(dispatching) or any(map(_has_others_above, app.view_functions.values()))


def _has_others_above(view: Any) -> bool:
    """Tell whether a view is, or holds, a decorated one that something other than Flask calls."""
    module = _module_of(view)
    if module == "flask_etag.decorators":
        return False
    view_class: Any = getattr(view, "view_class", None)
    methods = getattr(view_class, "methods", None) or ("GET",)
    if module == "flask.views" and view_class.dispatch_request is MethodView.dispatch_request:
        return any(_has_others_above(_answering(view, method)) for method in methods)
    held = (_answering(each, method) for each in (view, *_within(view)) for method in methods)
    return any(protection_of(each) is not None for each in held)


def _process_response(process: Callable[..., Response], *arguments: Any) -> Response:
    """Process a response as the application does, and look at one that no decorated view has made.

    :param process: the application's own method.
    :param arguments: what Flask hands to that.
    """
    response = process(*arguments)
    current: Request = request._get_current_object()  # type: ignore[attr-defined]  # every request comes here
    if JUDGED not in current.environ:
        _check_answer(response, current)
    return response


def _check_answer(response: Response, current: Request) -> None:
    """Look at what a decorated view has answered without having been reached: a cache above has.

    :raises RuntimeError: if it is a 304 that does not answer the request: it was stored when another has asked.
    """
    status = response.status_code
    if status // 100 != 2 and status != 304:
        return
    view = current_app.view_functions.get(current.endpoint or "")
    if view is None or current.method in ("OPTIONS", "TRACE"):
        return
    if status == 304 and _is_of_another(response, view):
        raise RuntimeError(
            f"{current.endpoint}: a 304 that was stored for another request is no answer to this one. Let what "
            "stores answers above etag_resource store what is 200 alone. See the docs, 'Caching on the server'."
        )
    if protection_of(_answering(view, current.method)):
        log.once(
            "something above has answered for it, a cache, say: it was not reached, and the request was not "
            "judged. See the docs, 'Caching on the server'."
        )


def _is_of_another(response: Response, view: Callable[..., Any]) -> bool:
    """Tell whether a 304 was the answer of a decorated view to another request, and is none to this one."""
    if is_answered_by_304(request.environ, response):
        return False
    if protection_of(_answering(view, request.method)):
        return True
    # A view of the application's own, which holds a decorated one, may read conditions more leniently.
    named, modified = response.headers.get("ETag"), response.last_modified
    return is_resource_modified(request.environ, named, last_modified=modified) and any(
        protection_of(_answering(each, request.method)) for each in _within(view)
    )


def _within(view: Any) -> list[Any]:
    """Return what a view may call, also where a decorator has not told by ``functools.wraps`` what it wraps.

    A view of the application's own may hold another one as well, and not answer for it: of such a one it is only
    to be asked what is wrong whoever answers.
    """
    found: list[Any] = []
    to_see = [view]
    while to_see and len(found) < _ENOUGH:
        each = to_see.pop()
        cells: Any = getattr(each, "__closure__", None) or ()
        held = [cell.cell_contents for cell in cells if cell != types.CellType()]  # one may be empty
        held += [getattr(each, name, None) for name in ("__wrapped__", "__func__", "__self__", "func")]
        held += vars(each).values() if hasattr(each, "__dict__") else ()
        new = [one for one in held if _may_hold_a_view(one) and not any(one is known for known in found)]
        found += new
        to_see += new
    return found


_ENOUGH = 50  # functions, looked at for one view: a decorator holds a few


def _may_hold_a_view(held: object) -> bool:
    """Tell whether something is a function, or an object of the application's own that can be called as one."""
    kind = type(held)  # not isinstance(), which would ask a proxy for what it stands for
    if issubclass(kind, types.FunctionType | types.MethodType | partial):
        return True
    return callable(held) and not issubclass(kind, type | types.BuiltinFunctionType | Flask | LocalProxy)


# Warnings in debug and testing mode.


def _check_tag(_: Flask, response: Response, **__: Any) -> None:
    """Warn of an answer that was tagged, and leaves without its tag: something above has made another of it.

    One that compresses puts a suffix behind the tag, or W/ before it.
    """
    etag = request.environ.get(TAGGED)
    if etag is None or response.status_code >= 400 or etag.strip('W/"') in response.headers.get("ETag", ""):
        return
    view = current_app.view_functions[request.endpoint or ""]
    if protection_of(_answering(view, request.method)):  # or it has only called a view that is
        log.once(
            "its answer was given an ETag, and leaves without it: a decorator above has made another answer of "
            "it. What makes the response belongs below etag_resource and require_if_match. This is told in debug "
            "and testing mode only."
        )


def _check_fields(_: Flask, response: Response, **__: Any) -> None:
    """Warn of a 304 without a field that the 200 of the same state has: what adds it there runs with the view.

    Flask itself adds ``Vary: Cookie`` where the session was read; a view, whatever it likes, by
    ``after_this_request()``.
    """
    etag, endpoint = request.environ.get(TAGGED), request.endpoint or ""
    last = settings_of(current_app).last
    if etag is None or response.status_code not in (200, 304):
        return
    state, fields = (request.full_path, etag), shared_fields(response)
    if response.status_code == 200:
        told = request.environ.get(UNDECLARED, ())
        last[endpoint] = state, {name: said for name, said in fields.items() if name not in told}
        return
    of, whole = last.get(endpoint, (None, {}))
    for name, said in whole.items() if of == state else ():
        if missing := said - fields.get(name, set()):
            has = f"{name}: {', '.join(sorted(missing))}" if name == "vary" else name
            log.once(
                f"its 200 has {has.title()}, and its 304 has not: for that, the view does not run, nor what it "
                "asks for by after_this_request(), or by reading the session. Name the field in "
                "@resource(headers=...), so that both have it. This is told in debug and testing mode only."
            )


def _tell_of_conflict(_: Flask, exception: Exception, **__: Any) -> None:
    """Warn of a conflict that nothing has handled: only a model with a version has any."""
    store = backend()
    if store is not None and store.is_stale(exception):
        log.once(
            "another writer was first, and a StaleDataError has left this view. Its model has a version, so that "
            "SQLAlchemy refuses the second of two writers; without one it would have overwritten the first. "
            "Decorate the view; or name the columns that it writes in __unversioned__, if they do not count; or "
            "let app.errorhandler(StaleDataError) answer 409. See the docs, 'Beside code that is not decorated'."
        )


def serve_watched(exchange: Exchange, resource: Resource[..., Any], target: Any) -> Response:
    """Run the view of a read, and warn of the rows that it has loaded and that can change without the tag.

    Rows that name the target (an order's lines) count whoever loads them. Rows that the target names (its
    customer) count if the view loads them: a loader may look at those only to see who may read. What a variant
    shows of either is in the tag.
    """
    owner = owner_of(target) if isinstance(resource.validator, Found) else None
    if owner is None or hasattr(type(target), "__etag__"):
        return exchange.serve(target)
    before = owner.uncovered(target)
    response = exchange.serve(target)
    for part, (advice, is_content) in owner.uncovered(target).items():
        if part not in before or (is_content and not resource.shows_more):
            log.once(
                f"{part} is loaded for its answer, and what changes there does not change the ETag, so that a 304 "
                f"can be stale: {advice}. This is told in debug and testing mode only."
            )
    return response


# The command line.


def field_given(text: str) -> tuple[str, str]:
    """Return the name and the value of a field that is given as curl takes it, ``NAME: VALUE``: an option's type.

    :raises click.BadParameter: if it is none: no server would understand it, or nothing can send it.
    """
    name, colon, value = (part.strip(" \t") for part in text.partition(":"))
    if not colon or not _IS_NAME(name) or not _CAN_BE_SENT(value):
        raise click.BadParameter(
            f"{text!r} is no field: write 'NAME: VALUE', in one line, and in characters of Latin 1."
        )
    return name, value


@click.group()
def etag() -> None:
    """Audit conditional requests."""


Guard = Literal["guarded", "held", "locked", "judged only", "exempt", "unknown", "none"]
"""What keeps a write from overwriting what its sender has not seen.

``guarded``: the version, or a compare-and-set of the view's own. ``held``: a lock on the row. ``locked``:
``lock=``. ``judged only``: the check alone, which two requests at the same moment both pass. ``exempt``:
nothing, and somebody has said why. ``unknown``: the loader is not annotated. ``none``: nothing.
"""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one route, and what protects it.

    :param route: the rule of the URL.
    :param method: the method.
    :param endpoint: the endpoint.
    :param resource: the name of the resource; ``None`` where there is none.
    :param tag: where the tag comes from; ``None`` where there is none.
    :param protection: what protects it; ``None`` where there is nothing to protect, as in a read.
    :param detail: by what it is guarded, or why it is exempt, or not protected.
    :param enforced: whether a request without a condition is refused; otherwise it is let pass.
    """

    route: str
    method: str
    endpoint: str
    resource: str | None = None
    tag: str | None = None
    protection: Guard | None = None
    detail: str = ""
    enforced: bool = False

    @property
    def name(self) -> str:
        """The method, and the rule of the URL."""
        return f"{self.method} {self.route}"

    @property
    def is_only_reported(self) -> bool:
        """Whether what would be protected is let pass, for the time of a roll-out."""
        return self.protection not in (None, "none", "exempt") and not self.enforced

    @property
    def described(self) -> str:
        """What protects it, in a few words."""
        if self.protection is None:
            return ""
        words = {"none": "not at all", "unknown": "guarded if mapped"}.get(self.protection, self.protection)
        told = f"{words}: {self.detail}" if self.detail else words
        return f"only reported, {told}" if self.is_only_reported else told


def routes_of(app: Flask) -> list[Route]:
    """Return every method of every route of an application, with what protects it."""
    configured = settings_of(app)
    return [_route(app, configured, *found) for found in views_of(app)]


def _route(app: Flask, configured: Settings, rule: Rule, method: str, view: Callable[..., Any]) -> Route:
    protection = protection_of(view)
    resource = None if protection is None else protection.resource
    described = partial(
        Route,
        rule.rule,
        method,
        rule.endpoint,
        None if resource is None else resource.name,
        (None if protection is None else "body") if resource is None else resource.validator.source,
    )
    if method in ("GET", "TRACE"):
        return described()
    if protection is not None and resource is not None and protection.required:
        enforced = protection.unprotected == "refused" and configured.require == "enforce"
        return described(*guard_of(resource), enforced)
    of_class = getattr(app.view_functions[rule.endpoint], "view_class", view)
    reason = exemption_of(view) or exemption_of(of_class)
    if reason is not None:
        return described("exempt", reason)
    if resource is not None:
        return described("none", "If-Match is judged, and not required")
    return described("none") if method in _WRITES else described()


@etag.command()
@click.option(
    "--check",
    is_flag=True,
    help="Exit with 1 if a PUT, PATCH or DELETE is not protected, or access is guarded below.",
)
@click.option(
    "--allow-reported", is_flag=True, help="With --check: let pass what is only reported, for a roll-out."
)
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects in the place of the table.")
@with_appcontext
def routes(check: bool, allow_reported: bool, as_json: bool) -> None:
    """Show every route: its resource, where its tag comes from, and how it is protected."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    found = routes_of(app)
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
    else:
        rows = [(each.route, each.method, each.resource or "", each.tag or "", each.described) for each in found]
        _echo_table([_HEADINGS, *rows])
    problems = _problems_of(found, allow_reported=allow_reported)
    told = [f"{kind}: {', '.join(each.name for each in them)}" for kind, them in problems.items()] if check else []
    told += guards_below(app)
    if told:
        click.echo("\n" + "\n".join(told), err=True)
    if check and told:
        sys.exit(1)


def unprotected_routes(app: Flask) -> list[str]:
    """Name the writes of an application that ``flask etag routes --check`` fails for: method and rule of each."""
    return [each.name for them in _problems_of(routes_of(app)).values() for each in them]


def _problems_of(found: Iterable[Route], *, allow_reported: bool = False) -> dict[str, list[Route]]:
    """Return the writes that are not protected, by what has to be done.

    :param found: the routes.
    :param allow_reported: whether to leave out those whose unprotected requests are only reported.
    """
    writes = [each for each in found if each.method in _WRITES]
    kinds = {
        "Not protected": [each for each in writes if each.protection == "none"],
        "Judged, not guarded (its resource wants lock= or swaps=)": [
            each for each in writes if each.protection == "judged only"
        ],
        "Cannot be told (annotate what its loader returns)": [
            each for each in writes if each.protection == "unknown"
        ],
        "Only reported": [each for each in writes if each.is_only_reported and not allow_reported],
    }
    return {kind: them for kind, them in kinds.items() if them}


def guard_of(resource: Resource[..., Any], loaded: Sequence[type] | None = None) -> tuple[Guard, str]:
    """Tell how the objects of a resource are guarded, and by what.

    :param loaded: their classes; without it, those that the loader is annotated to return.
    """
    if loaded is None:
        loaded = _loaded_by(resource)
    known = backend()
    guards = {None if known is None else known.guarding(model) for model in loaded}
    if guards and None not in guards:
        kinds = sorted(filter(None, guards))
        return ("held" if "held" in kinds else "guarded"), " or ".join(_GUARDED_BY[kind] for kind in kinds)
    if resource.has_lock:
        return "locked", "lock="
    if resource.swaps:
        return "guarded", "its view's own compare-and-set"
    return ("judged only", "") if loaded else ("unknown", "the loader's annotation does not say")


def share_tags(one: Resource[..., Any], other: Resource[..., Any]) -> bool:
    """Tell whether what two resources load by one URL is known to be one object, whose tag is made in one way.

    Of two loaders, their annotations say so: both return the same class, of single objects.
    """
    if one is other:
        return True
    loaded = _loaded_by(one)
    if len(loaded) != 1 or loaded != _loaded_by(other) or issubclass(loaded[0], Iterable):
        return False
    made_by, by_other = one.validator, other.validator
    return type(made_by) is type(by_other) and vars(made_by) == vars(by_other)


def _loaded_by(resource: Resource[..., Any]) -> list[type]:
    """Return the classes that a loader is annotated to return; none where the annotation cannot be read."""
    loader: Callable[..., Any] = resource.__wrapped__  # type: ignore[attr-defined]
    try:
        returned = typing.get_type_hints(loader).get("return")
    except (NameError, TypeError):
        return []
    alternatives = typing.get_args(returned) if _is_union(returned) else (returned,)
    origins = [typing.get_origin(alternative) or alternative for alternative in alternatives]
    classes = [origin for origin in origins if isinstance(origin, type)]
    return [alternative for alternative in classes if alternative not in (type(None), object, Any)]


def _is_union(annotation: object) -> bool:
    return isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union


def _echo_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
