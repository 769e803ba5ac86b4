"""One request with its rivals: what is tried, and how it is done."""

from __future__ import annotations

import gc
import json
import pickle
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from flask import Response, abort, after_this_request
from flask.testing import FlaskClient
from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session, defer, joinedload, load_only
from sqlalchemy.orm.exc import StaleDataError

from search.databases import in_memory
from search.models import KINDS, Kind, Other
from search.outcomes import RIVAL, VIEW, Again, Mishap, Outcome, RivalOutcome
from search.steps import Step, commit_or_roll_back, perform, value_of
from search.world import World, path_of

PATIENCE = 0.12  # seconds, for which a rival that waits for the view is waited for
LAST = 8.0  # seconds, after which whatever still waits hangs
FORMS = ["tag", "star", "create", "unprotected", "reading", "get", "batch", "nested", "insist"]
LOADERS = [
    "get",
    "select",
    "load_only",
    "defer",
    "keys",
    "expired",
    "joined",
    "cached",
    "committing",
    "rolling",
    "locking",
    "populating",
]
ENDINGS = ["200", "204", "return 400", "return 500", "abort 404", "abort 409", "raise"]


@dataclass(frozen=True)
class Trial:
    """One request with its rivals.

    :ivar form: how the request protects itself: by a tag, ``*``, ``If-None-Match: *``; not at all, where that is
        only reported; under ``etag_resource``; a GET; by a tag each for the target and its sibling, of which it
        writes both or none; by a tag, for a view that calls a guarded view; by a tag under ``replay=True``, for a
        request that is sent once more when all is over.
    :ivar later: whether the commit at the end is left to ``after_request``.
    :ivar expire: the session's ``expire_on_commit``.
    :ivar early: whether a rival commits before the request, or between its load and its judgement; or a hook of
        the application has changed the target before, and sent nothing.
    """

    database: str = "sqlite"
    kind: str = "versioned"
    form: str = "tag"
    steps: list[Step] = field(default_factory=list)
    loader: str = "get"
    ending: str = "200"
    method: str = "PUT"
    later: bool = False
    expire: bool = True
    early: str = ""

    @property
    def creates(self) -> bool:
        """Say whether there is no row at first."""
        return self.form == "create"

    @property
    def is_enforced(self) -> bool:
        """Say whether the request is protected."""
        return self.form in ("tag", "star", "create", "batch", "nested", "insist")

    def to_json(self) -> str:
        """Return what ``--replay`` takes."""
        default = asdict(Trial())
        return json.dumps({name: value for name, value in asdict(self).items() if value != default[name]})

    @classmethod
    def from_json(cls, text: str) -> Trial:
        """Read what ``to_json`` has written."""
        return cls(**json.loads(text))

    def simpler(self, **changes: Any) -> Trial:
        """Return it with some of it changed."""
        return replace(self, **changes)


class Run:
    """One execution of a trial's request, decorated or not, with rivals or without."""

    def __init__(self, world: World, trial: Trial, *, decorated: bool, with_rivals: bool) -> None:
        self.world, self.trial = world, trial
        self.decorated, self.with_rivals = decorated, with_rivals
        self.kind: Kind = KINDS[trial.kind]
        self.dialect = world.database.dialect
        self.db = world.reporting_db if trial.form == "unprotected" else world.db
        self.found: Any = None
        self.kept: bytes | None = None
        self.first_version: Any = None
        self.first_etag: str | None = None
        self.sibling_etag: str | None = None
        self.left_pending: str | None = None
        self.gone = self.is_late = self.failed_later = self.changed_later = False
        self.runs = self.loads = 0
        self.error: BaseException | None = None
        self.swallowed: list[Mishap] = []
        self.cleanups: list[Callable[[], None]] = []
        self.rivals: list[tuple[RivalOutcome, threading.Thread]] = []
        self.story: list[str] = []
        self._number = self._step = 0

    # What the steps use

    @property
    def session(self) -> Session:
        """Return the request's session."""
        return self.db.session()

    @property
    def engine(self) -> Engine:
        """Return the request's engine."""
        return self.db.engine

    def say(self, text: str) -> None:
        """Note what happens."""
        self.story.append(text)

    def begin(self, head: str) -> None:
        """Note that a step begins."""
        self._step += 1
        self.say(head)

    def value(self, what: str) -> Any:
        """Return a value that nobody has written before."""
        self._number += 1
        return value_of(self._number, what, decimal=self.trial.kind == "decimal")

    def make(self) -> Any:
        """Make an object with the target's key."""
        return self.world.make(self.kind, self.kind.key, self.value("text"))

    def move(self, found: Any) -> None:
        """Give the object its next version, where that is the view's affair."""
        if self.kind.by_hand and self.kind.version and self.kind.new_version is not None:
            setattr(found, self.kind.version, self.kind.new_version())

    @property
    def can_touch(self) -> bool:
        """Say whether ``touch()`` can move the target's version."""
        return self.kind.is_versioned and not self.kind.by_hand and self.trial.kind != "triggered"

    def lose_or(self, found: Any) -> None:
        """Go on with what was found anew."""
        self.gone = self.gone or (found is None and not self.trial.creates)
        self.found = found

    def swallow(self, error: BaseException) -> None:
        """Note an error that the view swallows."""
        self.say(f"  swallowed {type(error).__name__}: {error!s:.110}")
        self.swallowed.append(replace(mishap(error), step=self._step))

    # The request

    def load(self) -> Any:
        """Load the target, as the trial's loader does."""
        self.loads += 1
        model, key, session, loader = self.kind.model, self.kind.identity, self.session, self.trial.loader
        session.expire_on_commit = self.trial.expire
        found: Any
        if loader == "cached" and self.kept is not None:
            found = session.merge(pickle.loads(self.kept), load=False)  # noqa: S301 - it is our own
        elif loader in ("select", "load_only", "defer", "keys", "joined"):
            key_alone = load_only(getattr(model, next(iter(self.kind.key))))
            options: dict[str, Any] = {
                "load_only": load_only(model.text),
                "defer": defer(model.data),
                "keys": key_alone,
            }
            if loader == "joined" and self.kind.collection:
                options["joined"] = joinedload(getattr(model, self.kind.collection))
            wanted = (
                select(model).filter_by(**self.kind.key).options(*[options[loader]] if loader in options else [])
            )
            found = session.scalars(wanted).unique().one_or_none()
        else:
            found = session.get(
                model,
                key,
                populate_existing=loader == "populating",
                with_for_update=True if loader == "locking" else None,
            )
        if loader == "expired" and found is not None:
            session.expire(found)
        elif loader == "committing":
            session.commit()
        elif loader == "rolling":
            session.rollback()
        if self.trial.early == "loader" and self.loads == 1:
            self.rival("plain")
        return found

    def hook(self) -> None:
        """Be what an application does before each request: it notes when the user was seen, say."""
        if self.trial.early == "unsent":
            found = self.session.get(self.kind.model, self.kind.identity)
            if found is not None:
                found.num = self.value("num")
                self.move(found)

    def note(self) -> None:
        """Be the outer of two views: it writes something before it calls the inner one."""
        self.session.add(Other(text="outer"))
        self.session.flush()

    def load_sibling(self) -> Any:
        """Load the other row of the model, which a batch names too."""
        return self.session.get(self.kind.model, self.kind.identity_of_sibling)

    def perform(self, found: Any) -> Any:
        """Be the view."""
        self.runs += 1
        self.found = found
        perform(self, self.trial.steps)
        if self.trial.later:
            after_this_request(self._commit)
        if not self.decorated and self.trial.ending in ("200", "204") and self.trial.form != "get":
            self.session.flush()  # as the guard does, so that a view's own mistakes come up here too
        self.say(f"end: {self.trial.ending}{', and after_request commits' if self.trial.later else ''}")
        return self._end()

    def _commit(self, response: Response) -> Response:
        self.is_late = True
        try:
            self.session.commit()
        except Exception:
            self.failed_later = True
            raise
        return response

    def _end(self) -> Any:
        what, _, status = self.trial.ending.rpartition(" ")
        if status == "raise":
            raise ValueError("the view's own")
        if what == "abort":
            abort(int(status))
        return ("" if status == "204" else "done"), int(status)

    def send(self) -> Outcome:
        """Send the request, let all rivals finish, and see what is left."""
        self.world.run = self
        self.world.patiently(partial(self.world.reset, self.kind, exists=not self.trial.creates))
        first_content, _ = self.world.rows(self.kind)
        if not self.trial.creates:
            self._see_the_first_state()
        open_before = self.world.checked_out()
        started = time.monotonic()
        in_memory.actor = VIEW
        try:
            if self.trial.early == "before" and self.with_rivals:
                self.rival("plain")
            answer = self._request()
        finally:
            self._clean_up()
            in_memory.actor = RIVAL
        for rival, thread in self.rivals:
            thread.join(max(0, LAST - (time.monotonic() - started)))
            self.say(f"rival {rival.kind}: {rival.status or 'failed'}")
        self._clean_up()  # after a rival that has begun to read when the view had ended
        seconds = time.monotonic() - started
        left_open = self.world.checked_out() - open_before
        if left_open:
            gc.collect()
        left_for_good = self.world.checked_out() - open_before
        see_changes = partial(self.world.changes, self.kind, with_sibling=self.trial.form == "batch")
        changes = self.world.patiently(see_changes)
        last_content, rows = self.world.patiently(partial(self.world.rows, self.kind))
        last_status, last_etag = self.world.read(self.trial.kind)
        is_pending = self.left_pending is not None and self.left_pending != self.world.stored(self.kind)
        again = self._send_again(len(changes)) if self.trial.form == "insist" and self.decorated else None
        self.world.run = None
        problem = answer.get_json(silent=True) if "problem+json" in (answer.content_type or "") else None
        reason = problem.get("reason", "") if isinstance(problem, dict) else None
        self.say(f"answered {answer.status_code} {reason or ''}")
        return Outcome(
            status=answer.status_code,
            etag=answer.headers.get("ETag"),
            reason=reason,
            error=mishap(self.error) if self.error is not None and answer.status_code >= 500 else None,
            swallowed=self.swallowed,
            changes=changes,
            rivals=[rival for rival, _ in self.rivals],
            first_etag=self.first_etag,
            last_etag=last_etag,
            last_status=last_status,
            first_content=first_content,
            last_content=last_content,
            rows=rows,
            is_pending=is_pending,
            failed_later=self.failed_later,
            changed_later=self.changed_later,
            gone=self.gone,
            runs=self.runs - (again is not None and again.runs),
            left_open=left_open,
            left_for_good=left_for_good,
            seconds=seconds,
            again=again,
            story=self.story,
        )

    def _clean_up(self) -> None:
        while self.cleanups:
            self.cleanups.pop()()

    def _send_again(self, changes: int) -> Again:
        """Send the very same request once more, as a client does that has got no answer; no rival comes again."""
        runs, error, self.with_rivals = self.runs, self.error, False
        in_memory.actor = VIEW
        try:
            status = self._request().status_code
        finally:
            in_memory.actor = RIVAL
        self.error = error
        self.say(f"once more: {status}")
        changed = self.world.patiently(partial(self.world.changes, self.kind))[changes:]
        return Again(status, self.runs - runs, bool(changed))

    def _see_the_first_state(self) -> None:
        self.first_etag = self.world.read(self.trial.kind)[1]
        self.sibling_etag = self.world.read(self.trial.kind, "sibling")[1] if self.trial.form == "batch" else None
        self.kept = self.world.pickled(self.kind)
        if self.kind.version and self.kept is not None:
            self.first_version = getattr(pickle.loads(self.kept), self.kind.version)  # noqa: S301 - it is our own

    def _request(self) -> Any:
        app = self.world.reporting if self.trial.form == "unprotected" else self.world.app
        route = {
            "create": "creating",
            "reading": "read",
            "get": "read",
            "batch": "batch",
            "nested": "nested",
            "insist": "insist",
        }.get(self.trial.form, "guarded")
        fields = {
            "tag": {"If-Match": self.first_etag or ""},
            "nested": {"If-Match": self.first_etag or ""},
            "insist": {"If-Match": self.first_etag or ""},
            "star": {"If-Match": "*"},
            "create": {"If-None-Match": "*"},
        }.get(self.trial.form, {})
        method = "GET" if self.trial.form == "get" else self.trial.method
        path = path_of(
            self.trial.kind, route if self.decorated else "plain-batch" if route == "batch" else "plain"
        )
        return app.test_client().open(path, method=method, headers=fields if self.decorated else {})

    # Rivals

    def rival(self, what: str) -> None:
        """Have a rival do something, and wait a little for it."""
        if not self.with_rivals or not self.world.database.has_rivals:
            return
        outcome = RivalOutcome(what, text=f"r{len(self.rivals) + 1}")
        thread = threading.Thread(target=partial(self._rival, outcome), daemon=True)
        self.rivals.append((outcome, thread))
        thread.start()
        thread.join(PATIENCE)
        outcome.waited = thread.is_alive()
        self.say(f"  rival {what}: {'waits' if outcome.waited else outcome.status or 'failed'}")

    def _rival(self, outcome: RivalOutcome) -> None:
        words = outcome.kind.split()
        if words[0] == "reads":
            self._read_for_long(outcome)
            return
        if words[0] in ("plain", "sibling"):
            self._write_plainly(outcome, words)
            return
        client: FlaskClient = self.world.rival_app.test_client()
        fields = {"Value": outcome.text, **({"Part": "1"} if "part" in words else {})}
        route = "guarded"
        if words[0] == "create":
            fields["If-None-Match"], route = "*", "creating"
        elif "star" in words:
            fields["If-Match"] = "*"
        elif "fresh" in words:
            try:
                before = len(self.world.changes(self.kind))
                fields["If-Match"] = self.world.read(self.trial.kind)[1] or '"none"'
                after = len(self.world.changes(self.kind))
            except DBAPIError:  # the view's transaction keeps even readers away
                return
            outcome.base = before if before == after else None
        else:
            fields["If-Match"], outcome.base = self.first_etag or '"none"', 0
        method = "DELETE" if words[0] == "delete" else "PUT"
        outcome.status = client.open(path_of(self.trial.kind, route), method=method, headers=fields).status_code

    def _read_for_long(self, outcome: RivalOutcome) -> None:
        """Read in a transaction that goes on until the view has ended: SQLite cannot commit past it."""
        with self.world.rival_app.app_context():
            connection = self.world.rival_db.engine.connect()
        self.cleanups.append(connection.close)
        if self.world.database.is_without_begin:
            connection.exec_driver_sql("BEGIN")
        connection.execute(select(*self.kind.tables[0].primary_key))
        outcome.status = 200

    def _write_plainly(self, outcome: RivalOutcome, words: list[str]) -> None:
        with self.world.rival_app.app_context():
            engine = self.world.rival_db.engine
        key = tuple((self.kind.sibling if words[0] == "sibling" else self.kind.key).values())
        try:
            with Session(engine) as session:
                found = session.get(self.kind.model, key if len(key) > 1 else key[0])
                if found is None:
                    session.add(self.world.make(self.kind, self.kind.key, outcome.text))
                elif "delete" in words:
                    session.delete(found)
                else:
                    self.world.change(session, self.kind, found, outcome.text, in_part="part" in words)
                commit_or_roll_back(session)
        except SQLAlchemyError:
            return
        outcome.status = 200


def mishap(error: BaseException) -> Mishap:
    """Return what the oracle has to know of an error."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    module = last.tb_frame.f_globals.get("__name__", "") if last is not None else ""
    ours = module.startswith("flask_etag")
    text = str(error)
    refusal = isinstance(error, StaleDataError) or type(error).__module__.startswith("flask_etag")
    if isinstance(error, DBAPIError):
        refusal = any(code in text for code in ("could not serialize", "1020,", "1213,", "deadlock detected"))
    advice = isinstance(error, RuntimeError) and ours and len(text) > 40
    told = [line for line in text.splitlines() if not line.startswith("(raised as a result of")]  # an autoflush
    first = told[0][:200] if told else ""
    return Mishap(type(error).__name__, first, refusal, advice, ours, is_of_commit="[SQL:" not in text)


def outcomes(world: World, trial: Trial) -> tuple[Outcome, Outcome, Outcome | None, Outcome | None]:
    """Run a trial.

    :return: as it is; undecorated, alone; undecorated with rivals, where the guard is not to help against them;
        and undecorated, alone, and flushing at its end as the guard does, where that has refused it alone.
    """
    control = Run(world, trial, decorated=False, with_rivals=False).send()
    outcome = Run(world, trial, decorated=True, with_rivals=True).send()
    raced = None
    if outcome.rivals and (not trial.is_enforced or (outcome.met_siblings_only and trial.form != "batch")):
        raced = Run(world, trial, decorated=False, with_rivals=True).send()
    sent = None
    if control.is_accepted and not (outcome.is_accepted or outcome.rivals):
        sending = trial.simpler(steps=[*trial.steps, "flush"])
        sent = Run(world, sending, decorated=False, with_rivals=False).send()
    return outcome, control, raced, sent
