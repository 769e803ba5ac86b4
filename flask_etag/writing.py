"""The story of a guarded write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol

from flask import Response
from werkzeug.exceptions import HTTPException

from flask_etag import log
from flask_etag.audit import Unprotected
from flask_etag.backend import Claim, Refused, Stale, Terms, Unit, cause_of, owner_of, unit_of_write
from flask_etag.errors import PreconditionFailed, PreconditionRequired, WriteConflict
from flask_etag.exchange import Exchange, names_in
from flask_etag.preconditions import Preconditions
from flask_etag.resources import Resource

_CREATING = ("PUT", "POST")

_NOTHING_LOCKED = nullcontext()


def write(exchange: Exchange, subject: Subject, unprotected: Unprotected) -> Response:
    """Answer a request that may change its target: run the view only on the state that the sender has seen.

    :param unprotected: what becomes of a request that sets no condition on what it overwrites.
    :raises PreconditionRequired: if the request is refused because it is unprotected.
    :raises PreconditionFailed: if a condition does not hold, or no longer holds when the store refuses.
    :raises WriteConflict: if the store refuses, and the conditions hold all the same.
    """
    unit = unit_of_write()
    with subject.locked():
        try:
            with unit:
                if not _load_judge_and_hold(exchange, subject, unit, unprotected):
                    _begin_anew(subject, unit)
                response = exchange.serve(subject.handed)
                status = response.status_code
                unit.settle(is_done=status < 400)
        except Refused as refusal:
            # Another writer was first. Whether this request was stale is for the state that won to tell; if that
            # cannot be read, or a part of this write is done, the answer is only that they met.
            try:
                _judge_again(subject, unit, refusal)
            except Refused as again:
                refusal = again
            except Exception as error:
                if isinstance(error, HTTPException) or cause_of(error) is None:
                    raise
            if refusal.cause == "conflict":
                subject.tell_of_what_is_hidden()
            raise WriteConflict(refusal.cause) from refusal
        subject.reload_under_lock()

    if status // 100 != 2:
        return response
    if _describes_target(status, exchange.method):
        exchange.tag(response, subject.etag, names_in(response.headers))
    if response.is_streamed:
        log.once("its answer is streamed; what it writes while that is sent is not guarded.")
    if unit.is_pending:
        log.once("its write is not committed when the answer is settled; should that fail later, nobody is told.")
    return response


def _load_judge_and_hold(exchange: Exchange, subject: Subject, unit: Unit, unprotected: Unprotected) -> bool:
    """Load and judge the target, and hold what has to be held before the view runs.

    :return: whether it is still as it was judged; if not, another writer came in between.
    """
    try:
        subject.load(unit)
        if unprotected != "let pass":
            _require_protection(exchange, subject, unprotected)
        subject.judge()
        exchange.has_passed = True
        return unit.hold_before_view()
    except HTTPException:
        raise
    except Exception as error:
        if cause_of(error) == "busy":
            raise Refused("busy") from error
        if cause_of(error) is None:
            raise
        return False  # what is loaded, or what a hash reads besides, has just been written


def _require_protection(exchange: Exchange, subject: Subject, unprotected: Unprotected) -> None:
    """Refuse a request that sets no condition on what it overwrites, or note that it is let pass."""
    try:
        subject.require_protection()
    except PreconditionRequired:
        if unprotected == "refused" and exchange.settings.require == "enforce":
            raise
        exchange.outcome = "reported"


def _begin_anew(subject: Subject, unit: Unit) -> None:
    """Hold what is there now, before the view runs: another writer came between the load and the hold.

    Whoever is stale by now is refused without waiting for a lock. The others lock first, and read then: a
    transaction that has read before may see for ever what was there then.
    """
    unit.begin_anew(locked=False)
    subject.load(unit)
    subject.judge()
    unit.begin_anew(locked=True)
    subject.load(unit)
    subject.judge()
    if not unit.hold_before_view():  # the loader answers from a cache, say
        raise Refused("conflict")


def _judge_again(subject: Subject, unit: Unit, refusal: Refused) -> None:
    """Judge a refused request by the state that won, once its writer is done.

    :raises PreconditionFailed: if a condition no longer holds; a loader's own refusal, if it has one now.
    :raises Refused: if it meets what it has committed itself, or cannot be loaded.
    """
    unit.roll_back(wait=refusal.cause == "conflict")
    try:
        if refusal.cause != "partial":  # where a part is done, it would be wrong to say that nothing was changed
            _load_again(subject, unit, refusal)
            try:
                subject.judge()
            except PreconditionFailed as failure:
                if subject.is_kept_from_others and not isinstance(refusal, Stale):
                    raise Refused("partial") from failure  # what it meets is its own
                raise
    finally:
        unit.roll_back()


def _load_again(subject: Subject, unit: Unit, refusal: Refused) -> None:
    """Load what a refused request names; an error of the loader's makes no 500 of a refusal, and is logged."""
    try:
        subject.load(unit)
    except (HTTPException, Refused):
        raise
    except Exception as error:
        if cause_of(error) is None:
            log.logger.exception("A refused write cannot be judged again, so that it is answered 409.")
        raise refusal from error


class Subject(Protocol):
    """What a request is going to write, as often as it has to be loaded and judged: one resource, or several."""

    @property
    def handed(self) -> Any:
        """What the view is handed."""

    @property
    def etag(self) -> str | None:
        """The value of the field ETag for what the request has left; ``None`` where none is known."""

    def locked(self) -> AbstractContextManager[None]:
        """Hold the resource's own lock, if it has one."""

    def load(self, unit: Unit) -> None:
        """Load what is going to be written, and claim it."""

    @property
    def is_kept_from_others(self) -> bool:
        """Whether a lock of its own, and no store, keeps others from it: what it becomes, the request has made."""

    def require_protection(self) -> None:
        """Refuse a request that sets no condition on what it overwrites.

        :raises PreconditionRequired: if it is such a one.
        """

    def judge(self) -> None:
        """Judge the request by what was loaded."""

    def reload_under_lock(self) -> None:
        """Take the tag of what the view has left, under the resource's own lock."""

    def tell_of_what_is_hidden(self) -> None:
        """Tell the log of a creation that has met a row which the loader does not find, even now."""


class Target:
    """One resource that a request writes, and the conditions that it sets on that.

    :param create: whether a PUT or POST may find nothing.
    """

    def __init__(
        self,
        exchange: Exchange,
        resource: Resource[..., Any],
        preconditions: Preconditions,
        *,
        create: bool = False,
    ) -> None:
        self._exchange = exchange
        self._resource = resource
        self._may_be_absent = create and exchange.method in _CREATING
        self._preconditions = preconditions
        self._claim: Claim | None = None
        self._terms: Terms | None = None
        self._etag_under_lock: str | None = None
        self.handed: Any = None

    @property
    def etag(self) -> str | None:
        """The value of the field ETag for what the request has left; ``None`` where none is known."""
        if self._resource.has_lock and owner_of(self.handed) is None:
            return self._etag_under_lock
        return None if self._claim is None else self._claim.etag

    def locked(self) -> AbstractContextManager[None]:
        """Hold the resource's own lock, if it has one."""
        return holding(self.lock()) if self._resource.has_lock else _NOTHING_LOCKED

    @property
    def is_kept_from_others(self) -> bool:
        """Whether a lock of its own, and no store, keeps others from it: what it becomes, the request has made."""
        return self._resource.has_lock and not self._resource.swaps and owner_of(self.handed) is None

    def lock(self) -> AbstractContextManager[Any]:
        """Return the resource's own lock, not entered yet."""
        return self._resource.locked(self._exchange.url_arguments)

    def load(self, unit: Unit) -> None:
        """Load the target, and claim what was loaded."""
        target = self.handed = self._resource.load(self._exchange.url_arguments, may_be_absent=self._may_be_absent)
        row = self._resource.absent_row() if target is None else target
        is_mapped = owner_of(row) is not None
        self._claim = None
        if is_mapped or target is None:
            self._terms = self._terms_of_request()
            self._claim = unit.claim(row if is_mapped else None, self._terms)
        elif not (
            self._resource.has_lock
            or self._resource.swaps
            or (self._exchange.method == "POST" and _is_collection(target))  # which overwrites nothing
        ):
            log.once(
                "judged, not guarded. What its loader returns is not one object of a store that can refuse a "
                "stale write, so two requests at the same moment may still overwrite each other, and its answer "
                "has no ETag. Give its resource a lock: @resource(lock=...); or let the view write by a "
                "compare-and-set of the store's, raise Stale() when that fails, and say so: @resource(swaps=True)."
            )

    def _terms_of_request(self) -> Terms:
        validator, preconditions = self._resource.validator, self._preconditions
        return Terms(
            self._find,
            self._etag_of,
            takes_any_state=preconditions.take_any_state,
            is_reported=not (preconditions.protect or preconditions.if_unmodified_since),
            depends_on_more=validator.depends_on_more,
            state_of=validator,
            column=validator.column,
        )

    def require_protection(self) -> None:
        """Refuse a request that sets no condition on what it overwrites."""
        if not self._preconditions.protect:
            raise PreconditionRequired

    def judge(self) -> None:
        """Judge the request by what was loaded.

        :raises PreconditionFailed: if a condition does not hold.
        """
        etag = None
        if self.handed is not None:
            settings = self._exchange.settings
            terms = self._terms
            if terms is not None:
                terms.is_hashing = True
            fingerprint = self._resource.validator(self.handed)
            if terms is not None:
                terms.is_hashing = False
            if fingerprint is not None:
                etag = self._resource.field(self.handed, fingerprint, settings)
            if self._preconditions.at_a_glance(self._exchange.method, etag) is None:
                representation = self._resource.representation(self.handed, fingerprint, settings, etag)
                self._exchange.is_unchanged(self._preconditions, representation)
        else:
            self._exchange.is_unchanged(self._preconditions, None)
        if self._claim is not None and self._terms is not None:
            self._terms.shows_more = self._resource.shows_more  # known by now
            self._claim.judged(etag)

    def reload_under_lock(self) -> None:
        """Take the tag of what the view has left, under the resource's own lock; one that swaps gives its own."""
        if self._resource.has_lock and not self._resource.swaps and owner_of(self.handed) is None:
            target = self._find()
            self._etag_under_lock = None if target is None else self._etag_of(target)

    def _find(self) -> Any:
        """Load the target from within the view; ``None`` where there is none.

        No event loop can wait for another one in its own thread: an asynchronous view waits for its loader in a
        thread that has none.
        """
        load = partial(self._resource.load, self._exchange.url_arguments)
        with suppress(HTTPException):
            if self._resource.is_async and _is_in_event_loop():
                return _in_a_thread(load)
            return load()

    def tell_of_what_is_hidden(self) -> None:
        """Tell the log of a creation that has met a row which the loader does not find, even now."""
        if self._may_be_absent and self.handed is None:
            log.once(
                "it was to create what its URL names, and met a row that is there, or was a moment ago, which its "
                "loader does not find. If rows are soft-deleted, let the loader return them, and say which they "
                "are: @resource(absent=lambda row: row.deleted). The view revives what absent_row() gives."
            )

    def _etag_of(self, target: Any) -> str | None:
        if self._resource.stands_for_nothing(target):
            return None
        return self._resource.etag_field(target, self._exchange.settings)


@contextmanager
def holding(lock: AbstractContextManager[Any]) -> Iterator[None]:
    """Hold a resource's own lock; what has to wait for it for too long has met another write."""
    try:
        lock.__enter__()
    except TimeoutError as error:
        raise WriteConflict("busy") from error
    try:
        yield
    except BaseException as error:
        lock.__exit__(type(error), error, error.__traceback__)
        raise
    else:
        lock.__exit__(None, None, None)


def _describes_target(status: int, method: str) -> bool:
    """Tell whether an answer speaks of the target as it is now (RFC 9110 sections 9.3.3 and 15.3.3).

    A 202 speaks of what will be, DELETE's of what was. A POST's 201 speaks of what was made; its tag is for the
    view to give.
    """
    if status == 202 or method == "DELETE":
        return False
    return not (method == "POST" and status == 201)


def _is_collection(target: Any) -> bool:
    return (
        isinstance(target, Iterable)
        and isinstance(target, Sized)
        and not isinstance(target, Mapping | str | bytes)
    )


def _in_a_thread(load: Callable[[], Any]) -> Any:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - as below

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(copy_context().run, load).result()


def _is_in_event_loop() -> bool:
    import asyncio  # noqa: PLC0415 - it takes as long to import as all of Flask-ETag, and few need it

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
