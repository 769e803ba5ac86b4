"""The story of a guarded write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol

from flask import Response
from werkzeug.exceptions import HTTPException

from flask_etag import log
from flask_etag.entity_tags import field_of
from flask_etag.errors import PreconditionRequired, WriteConflict
from flask_etag.exchange import Exchange, names_in
from flask_etag.guards import Guard, LockingRead, Refused, Write, guard_of, locking_read, refused
from flask_etag.preconditions import Preconditions
from flask_etag.resources import Resource

_CREATING = ("PUT", "POST")

_NOTHING_HELD = nullcontext()


class ToWrite(Protocol):
    """What a request is going to write, as often as it has to be loaded and judged."""

    def held(self) -> AbstractContextManager[None]:
        """Hold the resource's own lock."""

    def load_to_write(self) -> Any:
        """Load it for the first time."""

    def load(self) -> Any:
        """Load it anew."""

    def require_protection(self) -> None:
        """Refuse a request that sets no condition on what it overwrites, or do what is configured."""

    def judge(self, target: Any) -> Any:
        """Judge the request by what was loaded; return the tag of that."""

    def judge_again(self, *, too_late: bool) -> None:
        """Judge by what is there now, unless it is too late to say that nothing was written."""

    def guard(self, target: Any) -> Guard:
        """Return what holds the store to the state that was judged."""


def write(exchange: Exchange, story: ToWrite, *, protected: bool) -> Response:
    """Answer a request that may change its target: run the view only on the state that the sender has seen.

    :param protected: whether to refuse a request that sets no condition on what it overwrites.
    :raises PreconditionRequired: if the request is refused because it is unprotected.
    :raises PreconditionFailed: if a condition does not hold, or no longer holds when the store refuses.
    :raises WriteConflict: if the store refuses, and the conditions hold all the same.
    """
    with story.held():
        try:
            target = story.load_to_write()
            if protected:
                story.require_protection()
            etag = story.judge(target)
        except Exception as error:
            if not isinstance(error, HTTPException) and refused(error):
                raise WriteConflict from error  # the row, or what a hash reads besides, is being written
            raise

        guard = story.guard(target)
        try:
            with guard:
                if guard.lock():
                    target = story.load()
                    etag = story.judge(target)
                guard.hold(target, etag)
                response = exchange.serve(target)
                if response.status_code < 400:
                    guard.flush()
        except Refused as refusal:
            # Another writer was first. Whether this request was stale is for the state that won to tell; if
            # that cannot be read, or part of this write is done, the answer is only that they met.
            with suppress(Refused):
                guard.after_the_winner(lambda: story.judge_again(too_late=guard.committed))
            if refusal.perhaps is not None:
                raise refusal.perhaps from refusal.perhaps.__cause__
            if not refusal.swallowed:
                raise WriteConflict from refusal

    status = response.status_code
    if status // 100 != 2:
        return response
    if _describes_target(status, exchange.method):
        exchange.tag(response, guard.etag, names_in(response.headers))
    if response.is_streamed:
        log.once("its answer is streamed; what it writes while that is sent is not guarded.")
    if guard.pending:
        log.once("its write is not committed when the answer is settled; should that fail later, nobody is told.")
    return response


class Target(ToWrite):
    """One resource, and the conditions that a request sets on it.

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
        self._read: LockingRead | None = None
        self._preconditions = preconditions

    def held(self) -> AbstractContextManager[None]:
        return self._held() if self._resource.has_lock else _NOTHING_HELD

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the resource's own lock; what has to wait for it for too long has met another write."""
        lock = self._resource.locked(self._exchange.url_arguments)
        try:
            lock.__enter__()
        except TimeoutError as error:
            raise WriteConflict from error
        try:
            yield
        except BaseException as error:
            lock.__exit__(type(error), error, error.__traceback__)
            raise
        else:
            lock.__exit__(None, None, None)

    def load_to_write(self) -> Any:
        """Load it for the first time, and under its lock if that is how it is guarded."""
        if self._preconditions.if_match is None:
            return self.load()  # it is going to be made, perhaps; a lock on a gap would keep others out of it
        self._read = locking_read(self._resource.model)
        if self._read is None:
            return self.load()
        try:
            with self._read.going_on():
                return self.load()
        except HTTPException:
            raise
        except Exception as error:
            # Another writer has it, or its SELECT is none that can lock. Read first, then.
            if not self._read.give_up(error):
                raise
            return self.load()

    def load(self) -> Any:
        return self._resource.load(self._exchange.url_arguments, may_be_absent=self._may_be_absent)

    def require_protection(self) -> None:
        if not self._preconditions.protect:
            refuse_unprotected(self._exchange, PreconditionRequired())

    def judge(self, target: Any) -> str | None:
        etag = opaque = current = None
        if target is not None:
            resource, settings = self._resource, self._exchange.settings
            state = resource.validator(target)
            if state is not None:
                opaque = resource.opaque(target, state, settings)
                etag = field_of(opaque, state.weak)
                if not state.weak and self._preconditions.ask_only_for(etag):
                    return etag
            current = resource.representation(target, state, settings, opaque)
        self._exchange.is_unchanged(self._preconditions, current)
        return etag

    def judge_again(self, *, too_late: bool) -> None:
        target = self.load()
        if not too_late:
            self.judge(target)

    def guard(self, target: Any) -> Guard:
        validator = self._resource.validator
        write = Write(self._read, self._find, self._etag_of, validator.rereads, validator.column)
        guard = guard_of(write, target)
        if guard is not None and not (target is None and self._resource.has_lock):
            return guard
        # Whatever the view writes to a store besides, a refusal of that is one of the request.
        inner = guard_of(replace(write, load=_nothing), None) or Guard()
        if self._resource.has_lock:
            return _Locked(write, inner)
        # To add to a collection overwrites nothing of it.
        return _Around(inner) if self._exchange.method == "POST" and _is_collection(target) else _Unguarded(inner)

    def _find(self) -> Any:
        """Load the target from within the view, if that can be done; ``None`` where there is none."""
        if self._resource.is_async and _is_in_event_loop():
            return None
        with suppress(HTTPException):
            return self._resource.load(self._exchange.url_arguments)

    def _etag_of(self, target: Any) -> str | None:
        return self._resource.field(target, self._exchange.settings)


def refuse_unprotected(exchange: Exchange, refusal: PreconditionRequired) -> None:
    """Refuse a request that sets no condition on what it overwrites, or do what is configured."""
    require = exchange.settings.require
    if require == "enforce":
        raise refusal
    if require == "report":
        log.refusal("missing, let pass")


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


def _nothing() -> None:
    """Find nothing."""


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Around(Guard):
    """A guard around that of a store where something else may be written, or the target may be made.

    :param inner: that one.
    """

    def __init__(self, inner: Guard) -> None:
        self._inner = inner

    @property
    def committed(self) -> bool:  # type: ignore[override]
        return self._inner.committed

    @property
    def pending(self) -> bool:  # type: ignore[override]
        return self._inner.pending

    def __enter__(self) -> None:
        self._inner.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)

    def after_the_winner(self, judge: Callable[[], object]) -> None:
        self._inner.after_the_winner(judge)

    def flush(self) -> None:
        self._inner.flush()


class _Unguarded(_Around):
    """The guard of an object that is in no store: it was judged, and nothing holds it to that.

    So the answer carries no tag: another writer may have been there in the meantime.
    """

    def hold(self, target: Any, etag: str | None) -> None:
        del target, etag
        log.once(
            "judged, not guarded. What its loader returns is not one object of a store that can refuse a stale "
            "write, so two requests at the same moment may still overwrite each other, and its answer has no "
            "ETag. Give its resource a lock: @resource(lock=...)."
        )


class _Locked(_Around):
    """The guard of what is under ``lock=``, which is held while this lives: no other writer can come between."""

    def __init__(self, write: Write, inner: Guard) -> None:
        super().__init__(inner)
        self._write = write

    def flush(self) -> None:
        super().flush()
        target = self._write.load()
        self.etag = None if target is None else self._write.etag_of(target)
