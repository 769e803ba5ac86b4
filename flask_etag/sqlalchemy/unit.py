"""One request that writes: what it claims, and the events that it hears, in the order in which they happen.

The events of all sessions and engines are listened to from the import on; while a request writes, its unit is told of
them. For one write by a flush and a commit, they come in this order::

    the view changes the object, and commits
        Session.before_commit         the last flush is about to come: what is claimed is read back after it
        Mapper.before_update          is it still what was judged? SQLAlchemy's own WHERE asks; or the row is held
        Engine.before_execute         UPDATE: the statement is one of the flush, and was asked for
        Engine.after_cursor_execute   the row is written: the claim is held by this transaction
        Session.after_flush           the flush is done
        Session.after_flush_postexec  what was stored is read back, and the tag is taken, inside the transaction
        Engine.commit                 what was written becomes the base
                                      (COMMIT is sent)

Any other statement that may write the row (bulk, Core, text) is met by ``before_execute``: the row is held first.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Literal

from sqlalchemy import Connection, Engine, ExceptionContext, event, update
from sqlalchemy.exc import DBAPIError, InvalidRequestError, SQLAlchemyError
from sqlalchemy.orm import InstanceState, Mapper, Session, SessionTransaction
from sqlalchemy.orm.attributes import instance_state, set_committed_value
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.sql.elements import SavepointClause

from flask_etag import log
from flask_etag.backend import Cause, Refused, Terms
from flask_etag.sqlalchemy import databases, statements
from flask_etag.sqlalchemy.claims import ABSENT, UNREAD, Claim, Seen
from flask_etag.sqlalchemy.creation import Creation
from flask_etag.sqlalchemy.databases import OWN, Row
from flask_etag.sqlalchemy.models import (
    Versioned,
    columns_of,
    covered_by,
    expire_parts,
    is_newer,
    is_stored_as_sent,
    is_versioned,
    key_of,
    loaded_names,
    loaded_version_of,
    names_of_columns,
    names_of_other_rows,
    next_version,
    version_key,
    version_of,
)

_units: ContextVar[tuple[SessionUnit, ...]] = ContextVar("flask_etag_units", default=())
"""The units of the writes that are going on: several, where a view calls another."""


class RowClaim(Claim):
    """What a request may replace of the row of one object; or of what its URL is going to name, if that is to be made.

    :param terms: what the write has to hold to.
    :param target: the object; ``None`` where it is to be made.
    :param session: the session that it is in, or is going to be in.
    """

    refusal: Cause | None = None
    """Why the last try to write the row was refused."""

    is_doubtful = False
    """Whether a try to write the row failed, and it is still to be seen whether another writer is the reason."""

    is_unread_after: Literal["flush", "statement"] | None = None
    """What has written the row since it was last read back."""

    misuse: RuntimeError | None = None
    """Why the row cannot be guarded at all."""

    flushing: Connection | None = None
    """The connection of the flush that is about to write the row."""

    creation: Creation | None = None
    image: dict[str, Any] | None = None  # the columns of the base, if a statement may have changed some of them
    _loaded: dict[str, Any] | None = None

    def __init__(self, terms: Terms, target: object | None, session: Session | None) -> None:
        super().__init__(Seen(ABSENT))
        self.terms = terms
        self.target = target
        self.session = session
        self.row: Row | None = None
        if target is None:
            self.creation = Creation()
            return
        state = instance_state(target)
        self.row = Row(state.mapper, key_of(state))
        if not self.is_versioned:
            self._loaded = columns_of(state)  # before a dump can change one of them in place

    @property
    def etag(self) -> str | None:
        """The tag of what the request has left."""
        return self.expected.etag

    def judged(self, etag: str | None) -> None:
        """Note that the target was judged by what is loaded of it, and the tag of that."""
        if self.target is not None:
            state = instance_state(self.target)
            fingerprint = version_of(state) if self.is_versioned else columns_of(state, self._loaded)
            self.base = Seen(fingerprint, etag)

    @property
    def is_versioned(self) -> bool:
        """Whether SQLAlchemy checks a version of the row."""
        return self.row is not None and is_versioned(self.row.mapper)

    @property
    def is_to_be_made(self) -> bool:
        """Whether nothing is known yet that the URL names: what is made may be that."""
        return self.creation is not None and not self.is_pending and not self.has_committed

    @property
    def is_held_before_view(self) -> bool:
        """Whether to keep others from the row while the view runs: nothing in its WHERE would tell of them."""
        if self.target is None or self.terms.is_reported:
            return False
        return not self.is_versioned or not self.terms.names_state

    @property
    def version_to_replace(self) -> object | None:
        """The version that the row has to have; ``None`` where it is held, or whatever it has is replaced."""
        is_any = self.connection is not None or self.terms.is_reported
        return None if is_any else self.expected.fingerprint

    def note(self, error: BaseException) -> None:
        """Note that a try to write the row has failed."""
        self.refusal = databases.cause_of(error) or self.refusal
        self.is_doubtful = True

    def written(self, connection: Connection, depth: int, by: Literal["flush", "statement"]) -> None:
        """Note that the row may have been written, in whatever state that has left it."""
        self.enter(connection, depth, Seen(UNREAD))
        if self.is_unread_after != "statement":
            self.is_unread_after = by

    def may_be_written_by(self, statement: Any, tables: frozenset[str]) -> bool:
        """Tell whether a statement may write the row; one that only makes rows makes others, where it is there.

        :param tables: the names of the tables that it writes to.
        """
        if self.row is None or not (tables is statements.ANY_TABLE or tables & self.row.tables):
            return False
        return self.expected.fingerprint is ABSENT or not statements.is_plain_insert(statement)

    def names_of_fingerprint(self) -> Sequence[str]:
        """Name the attributes that tell the states of the row apart."""
        assert self.row is not None
        if self.is_versioned:
            return (version_key(self.row.mapper),)
        fingerprint = self.expected.fingerprint
        return tuple(fingerprint) if isinstance(fingerprint, dict) else names_of_columns(self.row.mapper)

    def is_met_by(self, found: dict[str, Any] | None) -> bool:
        """Tell whether the row is in the state that is expected."""
        fingerprint = self.expected.fingerprint
        if found is None or fingerprint is ABSENT or fingerprint is UNREAD:
            return found is None and fingerprint is ABSENT
        assert self.row is not None
        mapper = self.row.mapper
        expected = {version_key(mapper): fingerprint} if self.is_versioned else fingerprint
        return databases.is_same(mapper, expected, found)  # type: ignore[arg-type]


class SessionUnit:
    """What one request writes through SQLAlchemy, whatever sessions and connections it does that by.

    :param session: the session of the application, if it has one.
    """

    _token: Token[tuple[SessionUnit, ...]]

    def __init__(self, session: Session | None) -> None:
        self._claims: list[RowClaim] = []
        self._of_application = session
        self._sessions: list[Session] = [] if session is None else [session]
        self._savepoints: dict[Connection, list[str]] = {}
        self._wrote: dict[Connection, int] = {}  # and how many savepoints were open at the first write
        self._broken: dict[Connection, int] = {}  # and at the error that left nothing to do but to roll back
        self._flushing: set[Connection] = set()
        self._executing: tuple[Connection, list[RowClaim]] | None = None
        self._met: Cause | None = None  # what the last refusal said, of whatever statement
        self._committing: Connection | None = None  # COMMIT was sent, and no answer is known
        self._committed_by: SessionTransaction | None = None  # a session is committing: its next flush is the last

    # What the story of a write asks for.

    def __enter__(self) -> SessionUnit:
        self._token = _units.set((*_units.get(), self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, Exception) and not isinstance(error, Refused):
                self._refuse_behind(error)
        finally:
            _units.reset(self._token)

    def claim(self, target: object, terms: Terms) -> RowClaim:
        session = self._of_application if target is None else session_of(target)
        self._note_session(session)
        claim = RowClaim(terms, target, session)
        self._claims.append(claim)
        return claim

    def hold(self) -> bool:
        for claim in self._claims:
            if claim.target is None or claim.row is None:
                continue
            if claim.is_held_before_view:
                connection = self._connection_of(claim)
                databases.refuse_what_cannot_hold(connection, claim.row.mapper, needs_lock=not claim.is_versioned)
                try:
                    found = databases.read(connection, claim.row, claim.names_of_fingerprint(), "exclusive")
                except DBAPIError as error:
                    if databases.cause_of(error) is None:
                        raise
                    if databases.has_waited(error):
                        raise Refused("busy") from error
                    return False
                if not claim.is_met_by(found):
                    return False
                claim.enter(connection, self._depth(connection), claim.base)
            if claim.terms.rereads and claim.terms.column is None:
                _refuse_what_moves_no_row(claim)
        return True

    def begin_anew(self, *, locked: bool) -> None:
        self.roll_back()
        try:
            if locked:
                self._lock_rows()
        except DBAPIError as error:
            if databases.cause_of(error) is None:
                raise
            raise Refused("busy" if databases.cause_of(error) == "busy" else "conflict") from error
        self._claims.clear()

    def settle(self, *, is_done: bool) -> None:
        for session in self._sessions if is_done else ():
            if session.is_active and self._is_to_be_flushed(session):
                session.flush()
                self._read_back(session)
        self._refuse()

    def roll_back(self, *, wait: bool = False) -> None:
        for session in self._sessions:
            try:
                session.rollback()
            except DBAPIError:  # a node of a cluster has ended the transaction, and says so even to ROLLBACK
                session.invalidate()
            session.expire_all()  # which it does by itself only where a transaction has begun
        if wait:
            try:
                self._lock_rows()
            except DBAPIError:
                self.roll_back()

    @property
    def is_pending(self) -> bool:
        return any(claim.is_pending for claim in self._claims)

    # What the events tell, in the order in which they come.

    def after_begin(self, session: Session, *_: object) -> None:
        self._note_session(session)

    def transient_to_pending(self, session: Session, _: object) -> None:
        self._note_session(session)

    def before_commit(self, session: Session) -> None:
        if session.in_nested_transaction():
            return
        self._committed_by = session.get_transaction()
        if not (session.new or session.dirty or session.deleted):
            self._read_back(session)

    def before_insert(self, mapper: Mapper[Any], connection: Connection, target: object) -> None:
        self._flushing.add(connection)
        state = instance_state(target)
        key = tuple(mapper.primary_key_from_instance(target))
        session = state.session
        key_of_identity = mapper.identity_key_from_primary_key(key) if None not in key else None
        replaced = None if session is None or key_of_identity is None else session.identity_map.get(key_of_identity)
        is_switch = replaced is not None and session is not None and replaced in session.deleted
        for claim in self._claims:
            if claim.is_to_be_made and claim.creation is not None:
                claim.session = claim.session or session
                claim.creation.inserting(state, key, replaced if is_switch else None)
            if claim.row is not None and claim.row.is_named_by(mapper, key):
                if claim.expected.fingerprint is ABSENT:
                    claim.target, claim.session, claim.flushing = target, session, connection
                else:  # SQLAlchemy makes an UPDATE of delete() and add() of one key, without a before_delete
                    self._before_write(claim, connection, instance_state(replaced) if is_switch else None, target)

    def before_update(self, mapper: Mapper[Any], connection: Connection, target: object) -> None:
        self._flushing.add(connection)
        state = instance_state(target)
        for claim in self._claims:
            is_target = target is claim.target or _is_row_of(claim, mapper, state)
            if is_target and state.session is not None and not _is_modified(state):
                continue
            if claim.is_to_be_made and claim.creation is not None:
                claim.creation.replacing(state)
            if is_target:
                self._before_write(claim, connection, state, target)

    def before_delete(self, mapper: Mapper[Any], connection: Connection, target: object) -> None:
        self._flushing.add(connection)
        state = instance_state(target)
        for claim in self._claims:
            if claim.is_to_be_made and claim.creation is not None:
                claim.creation.replacing(state)
            if target is claim.target or _is_row_of(claim, mapper, state):
                self._before_write(claim, connection, state, target)

    def before_execute(
        self, connection: Connection, statement: Any, multiparams: Any, _: object, options: Any
    ) -> None:
        if OWN in options:
            return
        self._executing = None
        if isinstance(statement, SavepointClause):  # the event of that name does not tell the name
            databases.begin_before_savepoint(connection)
            self._savepoints.setdefault(connection, []).append(statement.ident)
            return
        tables = statements.tables_written_by(statement)
        if tables is None:
            return
        self._committing = None
        self._wrote.setdefault(connection, self._depth(connection))
        is_of_flush = connection in self._flushing and options.get("compiled_cache") is not None
        concerned: list[RowClaim] = []
        self._executing = connection, concerned
        for claim in self._claims:
            may_write = claim.may_be_written_by(statement, tables)
            if is_of_flush and claim.flushing is not connection:
                may_write = False  # the flush writes other rows
            if may_write:
                concerned.append(claim)
            if isinstance(claim.connection, Connection) and claim.connection is not connection:
                _refuse_to_wait(claim, connection, is_row=may_write)
            if may_write and not is_of_flush:
                self._before_statement(claim, connection)
            if claim.is_to_be_made and not is_of_flush:
                self._before_creation_by(claim, connection, statement, tables, len(multiparams) or 1)

    def after_cursor_execute(
        self, connection: Connection, cursor: Any, _statement: str, _parameters: object, context: Any, _: bool
    ) -> None:
        options = context.execution_options
        if OWN in options or context.compiled is None:
            return
        if self._executing is None or self._executing[0] is not connection:
            return
        _, claims = self._executing
        is_of_flush = connection in self._flushing and options.get("compiled_cache") is not None
        for claim in claims:
            claim.written(connection, self._depth(connection), "flush" if is_of_flush else "statement")
        for claim in self._claims:
            if claim.creation is not None and not is_of_flush:
                claim.creation.executed(cursor.rowcount)

    def handle_error(self, context: ExceptionContext) -> None:
        connection, error = context.connection, context.sqlalchemy_exception
        if connection is None or error is None:
            return
        self._met = databases.cause_of(error) or self._met
        executing, self._executing = self._executing, None
        is_of_it = executing is not None and executing[0] is connection and context.statement is not None
        concerned = executing[1] if executing is not None and is_of_it else []
        if context.statement is None and self._committing is connection:
            self._commit_failed(connection, error)
        if databases.has_ended_transaction(connection, error):
            self._broken[connection] = 0
            for claim in self._claims:
                if claim.connection is connection:
                    if claim.is_pending:
                        claim.note(error)
                    claim.roll_back(connection)
        elif databases.has_broken_transaction(connection, error):
            self._broken.setdefault(connection, self._depth(connection))
            for claim in self._claims:
                if claim.connection is connection and claim.is_pending and databases.cause_of(error) is not None:
                    claim.note(error)
        for claim in concerned:
            claim.note(error)
        for claim in self._claims:
            if claim.is_to_be_made and claim.creation is not None:
                claim.is_doubtful = True

    def after_flush(self, session: Session, _: object) -> None:
        self._flushing.clear()
        for claim in self._claims:
            if claim.flushing is None or claim.session is not session:
                continue
            claim.flushing = claim.refusal = None
            claim.is_doubtful = False
            if claim.target in session.deleted and claim.connection is not None:
                claim.enter(claim.connection, self._depth(claim.connection), Seen(ABSENT))  # type: ignore[arg-type]

    def after_flush_postexec(self, session: Session, _: object) -> None:
        self._find_what_was_made(session)
        transaction = session.get_transaction()
        if transaction is not None and transaction is self._committed_by:
            self._read_back(session)

    def rollback_savepoint(self, connection: Connection, name: str, _: object) -> None:
        depth = self._depth_of(connection, name)
        self._rolled_back(connection, depth)
        self._savepoints[connection] = self._savepoints.get(connection, [])[: max(depth - 1, 0)]

    def release_savepoint(self, connection: Connection, name: str, _: object) -> None:
        depth = self._depth_of(connection, name)
        if depth > 0:
            for claim in self._claims:
                claim.release(connection, depth)
            for depths in (self._wrote, self._broken):
                if depths.get(connection, -1) >= depth:
                    depths[connection] = depth - 1
        self._savepoints[connection] = self._savepoints.get(connection, [])[: max(depth - 1, 0)]

    def rollback(self, connection: Connection, *_: object) -> None:
        self._committing = None
        self._rolled_back(connection, 0)
        self._savepoints.pop(connection, None)

    def commit(self, connection: Connection, *_: object) -> None:
        mine = [claim for claim in self._claims if claim.connection is connection]
        for claim in mine:
            self._refuse_half_of_it(claim)
            if claim.is_unread_after is not None:  # nothing can be loaded any more, by what is committing
                self._read_back_by_hand(claim, connection)
            claim.commit(connection)
            claim.image = None
        for depths in (self._wrote, self._broken):
            depths.pop(connection, None)
        self._savepoints.pop(connection, None)
        self._committing = connection

    rollback_twophase, commit_twophase = rollback, commit

    # What parts that belong to a target do to its version: see covering.py.

    def moving(self, mapper: Mapper[Any], key: Sequence[Any], connection: Connection) -> list[RowClaim]:
        """Return the claims to a row whose version is about to be moved, since a part of it changes."""
        claims = [
            claim
            for claim in self._claims
            if claim.row is not None and claim.row.is_named_by(mapper, key) and claim.expected.fingerprint is not ABSENT
        ]
        for claim in claims:
            self._refuse_what_cannot_hold(claim, connection)
            if claim.connection is not None and claim.connection is not connection:
                _refuse_to_wait(claim, connection, is_row=True)
        return claims

    def moved(self, claim: RowClaim, connection: Connection, target: object | None, *, is_moved: bool) -> None:
        """Note that the version of a row was moved from the one that is expected, or that it is another.

        :param target: the object of the row in the session that has moved it, if it is there.
        :raises StaleDataError: if it is another.
        """
        if target is not None:
            claim.target, claim.session = target, instance_state(target).session
        if not is_moved:
            claim.refusal = "conflict"
            raise StaleDataError(_CHANGED)
        claim.refusal = None
        claim.written(connection, self._depth(connection), "flush")

    # How it does it.

    def _note_session(self, session: Session | None) -> None:
        if session is not None and session not in self._sessions:
            self._sessions.append(session)

    def _depth(self, connection: Any) -> int:
        return len(self._savepoints.get(connection, ()))

    def _depth_of(self, connection: Connection, name: str) -> int:
        """Return the depth of what is inside a savepoint; 0 for one that was there before the unit."""
        names = self._savepoints.get(connection, [])
        return names.index(name) + 1 if name in names else 0

    def _connection_of(self, claim: RowClaim) -> Connection:
        """Return the connection by which the session of a claim writes its row."""
        assert claim.row is not None
        assert claim.session is not None
        mapper = claim.row.mapper
        write = update(mapper.primary_key[0].table)  # type: ignore[arg-type]
        return claim.session.connection(bind_arguments={"mapper": mapper, "clause": write})

    def _lock_rows(self) -> None:
        """Lock the rows of all claims, waiting for whoever has them, in transactions that have read nothing yet."""
        for claim in self._claims:
            rows = [claim.row] if claim.creation is None else claim.creation.rows()
            for row in rows:
                if row is not None and claim.session is not None:
                    write = update(row.mapper.primary_key[0].table)  # type: ignore[arg-type]
                    bind = {"mapper": row.mapper, "clause": write}
                    databases.read(claim.session.connection(bind_arguments=bind), row, (), "exclusive")

    def _before_write(
        self, claim: RowClaim, connection: Connection, replaced: InstanceState[Any] | None, target: object
    ) -> None:
        """See to it that a flush replaces what is expected, before it writes the target.

        :param replaced: the object whose loaded version SQLAlchemy is going to name, if it names any.
        :raises StaleDataError: if the row is in another state.
        """
        state = instance_state(target)
        claim.target, claim.session = target, state.session
        self._refuse_what_cannot_hold(claim, connection)
        if claim.connection is None:
            version = None
            if replaced is not None and claim.is_versioned and is_versioned(replaced.mapper):
                version = loaded_version_of(replaced)
            if claim.terms.is_reported:
                self._adopt(claim, connection, replaced)
            elif version is None or version != claim.expected.fingerprint:
                # The view has let go of what was judged, by a commit, a rollback or a refresh, or writes another
                # object of the same row: another writer's state may have been loaded since.
                self._hold(claim, connection)
        elif claim.connection is not connection:
            _refuse_to_wait(claim, connection, is_row=True)
        claim.flushing = connection

    def _before_statement(self, claim: RowClaim, connection: Connection) -> None:
        """See to it that a statement that may write the row finds it as expected; keep what it has by then."""
        assert claim.row is not None
        self._refuse_what_cannot_hold(claim, connection)
        names = names_of_columns(claim.row.mapper)
        if claim.connection is None:
            if claim.terms.is_reported:
                self._adopt(claim, connection, None)
            else:
                self._hold(claim, connection, names)
        if claim.is_versioned and claim.image is None and not claim.is_pending:
            claim.image = databases.read(connection, claim.row, names)

    def _before_creation_by(
        self, claim: RowClaim, connection: Connection, statement: Any, tables: frozenset[str], rows: int
    ) -> None:
        """Note a statement that may make what the URL is going to name, or may replace what another has made."""
        assert claim.creation is not None
        claim.creation.executing(statement, tables, rows)
        if connection.dialect.name == "sqlite" and statements.may_upsert(statement):
            databases.lock_file(connection, statement.table)  # and so nobody makes it between this look and the upsert
            if claim.terms.find() is not None:
                claim.refusal = "conflict"
                raise StaleDataError(_MADE)

    def _refuse_what_cannot_hold(self, claim: RowClaim, connection: Connection) -> None:
        assert claim.row is not None
        try:
            databases.refuse_what_cannot_hold(connection, claim.row.mapper, needs_lock=not claim.is_versioned)
        except RuntimeError as error:
            claim.misuse = error
            raise

    def _hold(
        self,
        claim: RowClaim,
        connection: Connection,
        names: Sequence[str] | None = None,
        lock: Literal["exclusive", "shared"] = "exclusive",
    ) -> None:
        """Lock the row, in the transaction that is going on, and refuse any other state than the one expected.

        :param names: what to read of it, if more than tells its state.
        :raises StaleDataError: if the row is in another state.
        """
        assert claim.row is not None
        try:
            found = databases.read(connection, claim.row, names or claim.names_of_fingerprint(), lock)
        except DBAPIError as error:
            claim.note(error)
            raise
        if not claim.is_met_by(found):
            claim.refusal = "conflict"
            raise StaleDataError(_CHANGED)
        if names is not None and claim.is_versioned and not claim.is_pending:
            claim.image = found
        if lock == "exclusive":
            claim.enter(connection, self._depth(connection), claim.expected)

    def _adopt(self, claim: RowClaim, connection: Connection, replaced: InstanceState[Any] | None) -> None:
        """Take whatever the row has for what was expected: the request does not name a state, and is let pass."""
        assert claim.row is not None
        if not claim.is_versioned:
            return
        name = version_key(claim.row.mapper)
        found = databases.read(connection, claim.row, names_of_columns(claim.row.mapper), "exclusive")
        if found is None:
            return
        if replaced is not None:
            set_committed_value(replaced.obj(), name, found[name])
        claim.base, claim.image = Seen(found[name]), found
        claim.enter(connection, self._depth(connection), claim.base)

    def _refuse_half_of_it(self, claim: RowClaim) -> None:
        """Refuse to go on with a transaction that the database has rolled back: what it did before is lost.

        :raises StaleDataError: if the row is held by such a transaction.
        """
        if claim.connection in self._broken:
            claim.refusal = claim.refusal or "conflict"
            claim.roll_back(claim.connection)
            raise StaleDataError("The database has rolled this transaction back.")

    def _is_to_be_flushed(self, session: Session) -> bool:
        """Tell whether a session may have something unsent of a target: its own session, or another that was begun."""
        if session is self._of_application or any(claim.session is session for claim in self._claims):
            return True
        unsent = [instance_state(each) for each in (*session.new, *session.dirty, *session.deleted)]
        return any(
            claim.is_to_be_made or _is_row_of(claim, state.mapper, state)
            for claim in self._claims
            for state in unsent
        )

    def _rolled_back(self, connection: Connection, depth: int) -> None:
        """Note that a transaction, or a savepoint and what is in it, is rolled back."""
        self._flushing.discard(connection)
        for claim in self._claims:
            if claim.flushing is connection:  # the flush that was going to write the row has failed
                claim.flushing, claim.is_doubtful = None, True
            claim.roll_back(connection, depth)
        for depths in (self._wrote, self._broken):
            if depths.get(connection, -1) >= depth:
                del depths[connection]

    def _commit_failed(self, connection: Connection, error: BaseException) -> None:
        self._committing = None
        is_refused = databases.cause_of(error) is not None
        for claim in self._claims:
            if claim.commit_failed(connection) and claim.is_pending:
                claim.note(error)
            if not is_refused:  # perhaps the connection was lost, and the database has committed all the same
                claim.is_doubtful = False

    # Reading back what was stored.

    def _read_back(self, session: Session) -> None:
        """Learn what the database has made of what a session has sent, and take the tags, while the rows are held.

        What was judged and is not written is made sure of: it has to be as it was judged when the rest counts.
        """
        self._find_what_was_made(session)
        for claim in self._claims:
            if claim.row is None or claim.session is not session:
                continue
            self._refuse_half_of_it(claim)
            if claim.is_unread_after is not None and claim.connection is not None:
                self._read_back_claim(claim, session)
            elif self._wrote and claim.connection is None and not (claim.has_committed or claim.terms.is_reported):
                connection = self._connection_of(claim)
                if connection in self._wrote and claim.base.fingerprint is not ABSENT:
                    self._hold(claim, connection, lock="shared")

    def _read_back_claim(self, claim: RowClaim, session: Session) -> None:
        state = instance_state(claim.target)
        connection: Any = claim.connection
        if claim.expected.fingerprint is ABSENT:
            claim.is_unread_after = None
            return
        if state.session is not session or not state.persistent:
            self._read_back_by_hand(claim, connection)
            return
        assert claim.row is not None
        after, claim.is_unread_after = claim.is_unread_after, None
        row = Row(state.mapper, key_of(state))
        is_renamed = row != claim.row
        claim.row = row
        depth = self._depth(connection)
        fingerprint: object
        if claim.is_versioned:
            if after == "statement":
                seen = self._moved_by_statement(claim, connection)
                if seen is claim.base or seen.fingerprint is ABSENT:
                    claim.enter(connection, depth, seen)
                    return
            fingerprint = self._version_stored(claim, connection, state)
            if claim.terms.rereads or hasattr(state.class_, "__etag__"):
                with suppress(InvalidRequestError):  # where a trigger has deleted it, the tag fails below
                    session.refresh(claim.target, loaded_names(state))
                expire_parts(session, claim.target)
        else:
            try:
                session.refresh(claim.target, loaded_names(state))
            except InvalidRequestError:  # a statement that the session knows nothing of has deleted it
                claim.enter(connection, depth, Seen(ABSENT))
                return
            base = claim.base.fingerprint
            fingerprint = columns_of(state)
            if isinstance(base, dict):
                fingerprint = {name: value for name, value in fingerprint.items() if name in base}
                if base.keys() == fingerprint.keys() and databases.is_same(row.mapper, base, fingerprint):
                    claim.enter(connection, depth, claim.base)
                    return
        etag = claim.terms.etag_of(claim.target)
        self._refuse_what_did_not_move(claim, fingerprint, etag)
        claim.enter(connection, depth, Seen(fingerprint, None if is_renamed else etag))

    def _version_stored(self, claim: RowClaim, connection: Connection, state: InstanceState[Any]) -> object:
        """Return the version that the row has by now, in memory too: what was sent may be stored otherwise."""
        mapper = state.mapper
        name = version_key(mapper)
        version = state.dict.get(name)
        assert claim.row is not None
        if version is None or not is_stored_as_sent(mapper.version_id_col, version):  # type: ignore[arg-type]
            version = (databases.read(connection, claim.row, (name,)) or {}).get(name)
            set_committed_value(state.obj(), name, version)
        return version

    def _moved_by_statement(self, claim: RowClaim, connection: Connection) -> Seen:
        """Move the version of a row that a statement has changed, if that has not done so; tell what it has now."""
        assert claim.row is not None
        mapper, name = claim.row.mapper, version_key(claim.row.mapper)
        found = databases.read(connection, claim.row, names_of_columns(mapper))
        if found is None:
            return Seen(ABSENT)
        base, version = claim.base.fingerprint, found[name]
        if claim.image is not None and databases.is_same(mapper, claim.image, found):
            return claim.base
        state = instance_state(claim.target)
        is_given = issubclass(mapper.class_, Versioned) and version != state.dict.get(name)
        if version == base or is_given:  # of Versioned, no statement gives the version
            following = next_version(mapper, version)
            if following is not None:
                version = following
                self._set_version(claim.row, connection, version)
        if state.persistent and not state.modified:
            set_committed_value(claim.target, name, version)
        return Seen(version)

    def _set_version(self, row: Row, connection: Connection, version: object) -> None:
        column: Any = row.mapper.version_id_col
        where = [key == value for key, value in zip(row.mapper.primary_key, row.key, strict=True)]
        statement = update(column.table).values({column: version}).where(*where)
        connection.execute(statement, execution_options={OWN: True})

    def _read_back_by_hand(self, claim: RowClaim, connection: Connection) -> None:
        """Learn what a row has by now without the session of the target; its tag is not known then."""
        assert claim.row is not None
        after, claim.is_unread_after = claim.is_unread_after, None
        if claim.expected.fingerprint is ABSENT:
            return
        mapper = claim.row.mapper
        if claim.is_versioned and after == "statement":
            seen = self._moved_by_statement(claim, connection)
        else:
            found = databases.read(connection, claim.row, claim.names_of_fingerprint())
            fingerprint = found if found is None or not claim.is_versioned else found[version_key(mapper)]
            seen = Seen(ABSENT if fingerprint is None else fingerprint)
        if seen.fingerprint is not ABSENT and seen is not claim.base:
            self._refuse_what_did_not_move(claim, seen.fingerprint, None)
        claim.enter(connection, self._depth(connection), seen)

    def _refuse_what_did_not_move(self, claim: RowClaim, fingerprint: object, etag: str | None) -> None:
        """Refuse a write that has left what tells the states apart as it was, or gone back in it.

        :raises StaleDataError: if it has.
        """
        base = claim.base
        if base.fingerprint is ABSENT or claim.row is None:
            return
        mapper = claim.row.mapper
        if claim.is_versioned:
            did_move, name = is_newer(fingerprint, base.fingerprint), version_key(mapper)
        else:
            did_move = claim.terms.column is None or etag is None or etag != base.etag
            name = str(claim.terms.column)
        if did_move:
            return
        log.logger.warning(
            "%s.%s did not move on with a write, so it cannot tell the states before and after it; the write is "
            "rolled back, with 409. Use a version that changes each time.",
            mapper.class_.__name__,
            name,
        )
        claim.refusal = "conflict"
        raise StaleDataError("The version has not moved on.")

    # What was made.

    def _find_what_was_made(self, session: Session) -> None:
        """See whether the URL names something by now, and claim that, unless another has made it."""
        for claim in self._claims:
            creation = claim.creation
            if creation is None or not claim.is_to_be_made or not creation.may_have_made:
                continue
            target = claim.terms.find()
            if target is None and session is not claim.session and claim.session is not None:
                self._forget_what_was_read(claim.session)
                target = claim.terms.find()
            state = instance_state(target) if hasattr(target, "_sa_instance_state") else None
            if state is None or state.key is None or state.session is None:
                continue
            row = Row(state.mapper, key_of(state))
            claim.target, claim.session, claim.row = target, state.session, row
            connection = self._connection_of(claim)
            if not creation.has_made(connection, row):
                claim.row, claim.refusal = None, "conflict"
                log.once(_OVERWRITTEN)
                raise StaleDataError(_MADE)
            claim.is_doubtful, claim.refusal = False, None
            claim.written(connection, self._depth(connection), "flush")

    # What a refusal is.

    def _refuse_behind(self, error: Exception) -> None:
        """Raise :class:`Refused` where an error that leaves the view hides that another writer was first."""
        if isinstance(error, SQLAlchemyError):
            for claim in self._claims:
                claim.is_doubtful = claim.is_doubtful or claim.connection is None
        self._refuse(error)
        cause = databases.cause_of(error)
        if any(claim.creation is not None and claim.creation.is_key_taken(error) for claim in self._claims):
            cause = "conflict"
        elif databases.follows_another(error):  # the view has swallowed the error that says why
            cause = self._met
        if cause is not None:
            raise Refused("partial" if self._has_committed else cause) from error

    @property
    def _has_committed(self) -> bool:
        return any(claim.has_committed for claim in self._claims)

    def _refuse(self, error: Exception | None = None) -> None:
        """Raise :class:`Refused` where a write of a target was refused, and was not done after that."""
        for claim in self._claims:
            if claim.misuse is not None and error is None:
                raise claim.misuse
            if claim.is_doubtful and not claim.is_pending and claim.base.fingerprint is not UNREAD:
                self._look_again(claim, has_raised=error is not None)
        causes = [claim.refusal for claim in self._claims if claim.refusal is not None and not claim.is_pending]
        if causes:
            raise Refused("partial" if self._has_committed else causes[0]) from error

    def _look_again(self, claim: RowClaim, *, has_raised: bool) -> None:
        """See whether a try that failed has met another writer: the state of the row tells, not the error.

        :param has_raised: whether an error ends the view, so that what it has not committed is lost anyway.
        """
        claim.is_doubtful = False
        session = claim.session
        if claim.refusal is not None or session is None:
            return
        for _ in range(2):
            if has_raised or not session.is_active:
                session.rollback()
            try:
                if claim.is_to_be_made:
                    self._forget_what_was_read(session)
                    claim.refusal = None if claim.terms.find() is None else "conflict"
                else:
                    self._hold(claim, self._connection_of(claim))
            except StaleDataError:
                return
            except DBAPIError as error:
                if databases.follows_another(error):  # the view has swallowed an error after which nothing goes
                    session.rollback()
                    claim.refusal = None
                    continue
                if databases.cause_of(error) is None:
                    raise
            return

    def _forget_what_was_read(self, session: Session) -> None:
        """Let a session see what is committed by now, whatever it has read before, if nothing is lost by that."""
        has_sent = any(connection in self._wrote for connection in self._connections_of(session))
        if not (has_sent or session.new or session.dirty or session.deleted):
            session.rollback()

    def _connections_of(self, session: Session) -> list[Connection]:
        """Return the connections of the transaction that a session has begun; those that wrote are what matters."""
        if not session.in_transaction():
            return []
        found = []
        for connection in self._wrote:
            with suppress(SQLAlchemyError):
                if session.connection(bind_arguments={"bind": connection.engine}) is connection:
                    found.append(connection)
        return found


_CHANGED = "The row has been changed since the request was judged."
_MADE = "The row has been made since the request was judged."

_OVERWRITTEN = (
    "refused, since it changed what its loader did not find before, and finds now. If nobody else made that "
    "meanwhile, let the loader return it, or let the view add() a new object."
)


def session_of(target: object) -> Session:
    """Return the session of an object.

    :raises RuntimeError: if it is in none whose writes can be guarded.
    :raises TypeError: if those of its model cannot be.
    """
    state = instance_state(target)
    name = state.class_.__name__
    if state.session is None:
        raise RuntimeError(
            f"This {name} is in no session, so that nothing can guard it: "
            "let the loader return an object that is attached to the session that the view commits."
        )
    if state.async_session is not None:
        raise RuntimeError(f"This {name} is in an AsyncSession, whose writes cannot be guarded: use a Session.")
    if not state.mapper.base_mapper.confirm_deleted_rows:  # the only one that SQLAlchemy asks
        raise TypeError(
            f"{name} has confirm_deleted_rows=False, so that a stale DELETE would pass for done: remove that from "
            "its __mapper_args__."
        )
    return state.session


def _is_row_of(claim: RowClaim, mapper: Mapper[Any], state: InstanceState[Any]) -> bool:
    return claim.row is not None and state.key is not None and claim.row.is_named_by(mapper, state.key[1])


def _is_modified(state: InstanceState[Any]) -> bool:
    """Tell whether a flush is going to change the row of an object: one that was only set to what it is does not."""
    session = state.session
    return session is not None and session.is_modified(state.obj(), include_collections=False)


def _refuse_to_wait(claim: RowClaim, connection: Connection, *, is_row: bool) -> None:
    """Refuse a write that would wait for what the same request holds: neither would ever go on.

    :raises RuntimeError: if it would.
    """
    holding: Any = claim.connection
    if databases.would_wait(connection, holding, is_row=is_row):
        assert claim.row is not None
        raise RuntimeError(
            f"This request holds a {claim.row.mapper.class_.__name__} on one connection, and writes on another, "
            "which would wait for the first without end. Write through the session that loaded it, or commit that "
            "session first."
        )


def _refuse_what_moves_no_row(claim: RowClaim) -> None:
    """Refuse a tag that depends on other rows than the one that is guarded.

    :raises TypeError: if it does.
    """
    state = instance_state(claim.target)
    mapper, session = state.mapper, state.session
    others = names_of_other_rows(mapper).union(mapper.relationships.keys()) - covered_by(mapper)
    if not others or session is None:
        return
    session.flush()  # what is not sent yet of these would be lost
    session.expire(claim.target, others)
    claim.terms.etag_of(claim.target)
    read = sorted(name for name in others if name in state.dict)
    if read:
        raise TypeError(
            f"The ETag of {state.class_.__name__} depends on its {', '.join(read)}, whose rows can change without "
            "it, and nothing would guard them. Leave them out of what is hashed; or give the model a version, and "
            "let that cover them: flask_etag.sqlalchemy.covers()."
        )


def units_in_force() -> tuple[SessionUnit, ...]:
    """Return the units of the writes that are going on."""
    return _units.get()


# The events, from the import on: a listener that is added while requests run can break one that iterates over them.


def _tell(target: type, *names: str) -> None:
    """Let the units that are in force be told of events, each by the method of its name."""

    def listen(name: str) -> None:
        def tell(*arguments: Any) -> None:
            for unit in _units.get():
                getattr(unit, name)(*arguments)

        event.listen(target, name, tell)

    for name in names:
        listen(name)


_tell(Session, "after_begin", "transient_to_pending", "before_commit", "after_flush", "after_flush_postexec")
_tell(Mapper, "before_insert", "before_update", "before_delete")
_tell(Engine, "before_execute", "after_cursor_execute", "handle_error")
_tell(Engine, "rollback_savepoint", "release_savepoint")
_tell(Engine, "rollback", "rollback_twophase", "commit", "commit_twophase")
