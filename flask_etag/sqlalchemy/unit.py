"""One request that writes: what it claims, and the events that it hears, in the order in which they happen.

The events of all sessions and engines are listened to from the import on; while a request writes, its unit is
told of them. For one write by a flush and a commit, they come in this order::

    the view changes the object, and commits
        Session.before_commit         what is flushed from now on is read back; at once, if nothing is
        Mapper.before_update          SQLAlchemy's own WHERE compares what is expected; or the row is held
        Engine.before_cursor_execute  UPDATE: it is one of the flush, and writes the row
        Engine.after_cursor_execute   the row is written, and the claim held, by this transaction
        Session.after_flush           the flush is done
        Session.after_flush_postexec  what was stored is read back, and the tag is taken, inside the transaction
        Engine.commit                 what was written becomes the base
                                      (COMMIT is sent)

Any other statement that may write the row (bulk, Core, text) is met by ``before_cursor_execute``: the row is held
first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass
from time import sleep
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Compiled, Connection, Engine, ExceptionContext, event
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError, PendingRollbackError, SQLAlchemyError
from sqlalchemy.orm import Mapper, Session, SessionTransaction
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.sql.elements import SavepointClause
from werkzeug.exceptions import HTTPException

from flask_etag.backend import Refused, Stale, Terms
from flask_etag.errors import ConditionalRequestError
from flask_etag.sqlalchemy import databases, statements
from flask_etag.sqlalchemy.claims import ABSENT
from flask_etag.sqlalchemy.creation import Creation
from flask_etag.sqlalchemy.creations import Creations
from flask_etag.sqlalchemy.databases import OWN, Cause
from flask_etag.sqlalchemy.holds import WAITS_FOR_ITSELF, RowClaim, Writer
from flask_etag.sqlalchemy.plans import Plan
from flask_etag.sqlalchemy.transactions import Transaction
from flask_etag.sqlalchemy.unsent import has_changes
from flask_etag.sqlalchemy.unversioned import leaves_every_version

_units: ContextVar[tuple[SessionUnit, ...]] = ContextVar("flask_etag_units", default=())
"""The units of the requests that are going on: several, where a view calls another."""


def units_in_force() -> tuple[SessionUnit, ...]:
    """Return the units of the requests that are going on."""
    return _units.get()


_PAUSES = (0.02, 0.1)
"""How long to wait for who makes a row of which nothing can be locked yet, in seconds; then it is looked for."""


class SessionUnit:
    """What one request writes through SQLAlchemy, whatever sessions and connections it does that by.

    :param session: the session of the application, if it has one.
    """

    _token: Token[tuple[SessionUnit, ...]]
    _commit_sent_on: Connection | None = None  # COMMIT was sent, and no answer is known
    _last_cause: Cause | None = None  # of the last refusal, of whatever statement
    _loader_ends_transactions = False  # so that it cannot be asked while a session commits
    _plan: Plan | None = None  # of a request that is to be known again
    _would_lose = False  # whether the session of the application had changes before the request was judged

    def __init__(self, session: Session | None) -> None:
        self._claims: list[RowClaim] = []
        self._of_application = session
        self._sessions: list[Session] = [] if session is None else [session]
        self._transactions: defaultdict[Connection, Transaction] = defaultdict(Transaction)
        self._begun: dict[Session, Connection] = {}  # the connection of each one's last transaction
        self._creations = Creations(self._transactions, self._begun, self._claims)
        self._committing: set[SessionTransaction] = set()  # what their sessions flush by now is read back
        self._executing: dict[object, _Executing] = {}  # by its context; by its connection, what covering.py sends

    # What the story of a write asks for.

    def __enter__(self) -> Self:
        self._token = _units.set((*_units.get(), self))
        self._would_lose = self._of_application is not None and has_changes(self._of_application)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self._end_by(error)
        except (StaleDataError, DBAPIError) as refused:
            if databases.cause_of(refused) is None:
                raise
            self._raise_if_refused(refused)
        finally:
            try:
                if self._plan is not None:
                    self._plan.end()
                    if isinstance(error, Exception):
                        self._abandon(self._plan)  # while what is rolled back is still noted
            finally:
                _units.reset(self._token)

    def _end_by(self, error: BaseException) -> None:
        """See to an error that leaves the view, or has kept it from running.

        :raises Refused: where it hides a refusal, or that a part was committed before it.
        """
        if isinstance(error, Stale | ConditionalRequestError) and self.has_committed:
            raise Refused("partial") from error  # of a view that this one has called, or of its own store
        note_what_to_write(error)
        if isinstance(error, Exception) and not isinstance(error, Refused):
            self._refuse_behind(error)
            self._read_back_all()

    def claim(self, target: object, terms: Terms) -> RowClaim | Creation:
        """Claim what was loaded, or what is to be made where that is ``None``, before it is judged.

        :raises Refused: if the request has made and committed that before it was refused.
        """
        if target is None:
            return self._creations.add(terms, self._of_application)
        session = session_of(target)
        self._note_session(session)
        is_called = self._is_called()
        kept = self._columns_kept_by_caller(target) if is_called else None
        claim = RowClaim(terms, target, session, kept)
        if not is_called:
            claim.refuse_unsent_state()
        if self._creations.every and self._creations.have_committed(claim.row):
            raise Refused("partial")  # it is judged again, and meets what it has committed itself
        begun = session.get_transaction()
        if session not in self._begun and begun is not None and begun.is_active:  # before the request
            self._begun[session] = databases.connection_begun(begun, claim.row.mapper, claim.row.shard)
        claim.is_judged = False
        self._claims.append(claim)
        return claim

    def _is_called(self) -> bool:
        """Tell whether another decorated view has called that of the request."""
        return len(_units.get()) > 1

    def _columns_kept_by_caller(self, target: object) -> dict[str, Any] | None:
        """Return what a view that has called this one has kept of the columns of an object."""
        claims = (claim for unit in _units.get() for claim in unit._claims if claim.target is target)
        return next((claim.columns for claim in claims), None)

    def plan(self, versions: Sequence[str]) -> None:
        """Let the request make these versions of what it has claimed last, one by one, and commit once."""
        if not versions or self not in _units.get():
            return  # it is only judged again
        if self._plan is None:
            self._plan = Plan(self._sessions, self._transactions)
        self._plan.add(self._claims[-1], versions)

    def _abandon(self, plan: Plan) -> None:
        """Let a request not be known by what it has committed, since it has not come to its end."""
        if plan.is_known:
            self.roll_back()
            plan.abandon()

    def hold_before_view(self) -> bool:
        """Hold what has to be held before the view runs; tell whether it still is as it was judged.

        :raises Refused: if a lock was waited for in vain.
        """
        for claim in self._claims:
            is_held = claim.is_held_before_view
            if is_held or not self._is_held_together(claim):
                connection = claim.connection_of_session()
                claim.refuse_what_cannot_hold(connection)
            if is_held:
                try:
                    if any(unit.holds_row_of(claim, connection) for unit in _units.get()):
                        claim.push(connection, self._depth(connection), claim.base)
                    else:
                        claim.hold(connection, self._depth(connection))
                except (StaleDataError, DBAPIError) as error:
                    if databases.has_waited(error):
                        raise Refused("busy") from error
                    if databases.cause_of(error) is None:
                        raise
                    return False
            claim.refuse_hash_of_other_rows()
        return True

    def _is_held_together(self, claim: RowClaim) -> bool:
        """Tell whether what a session has begun is a transaction: by what it writes is asked when it writes."""
        connection = self._begun.get(claim.session)
        if connection is None:
            return not claim.session.in_transaction()
        return connection.closed or claim.is_held_together_by(connection)

    def holds_row_of(self, claim: RowClaim, connection: Connection) -> bool:
        """Tell whether a view that calls another holds the row of that one already."""
        return any(
            each is not claim and each.connection is connection and each.row == claim.row for each in self._claims
        )

    def begin_anew(self, *, locked: bool) -> None:
        """Roll back, and forget what was claimed.

        :param locked: whether to lock the rows that were claimed before anything is read.
        :raises Refused: if a lock was waited for in vain; or if that would drop what a hook of the application has
            written, which nobody would do again.
        """
        if self._is_called() or self._would_lose:  # what a view that has called this one, or a hook, has written
            raise Refused("conflict")
        self.roll_back()
        try:
            if locked:
                self._lock_rows()
        except DBAPIError as error:
            cause = databases.cause_of(error)
            if cause is None:
                raise
            raise Refused(cause) from error
        self._claims.clear()
        self._creations.clear()

    def settle(self, *, is_done: bool) -> None:
        """Send what the view left unsent, read back what was stored, and take the tags.

        :param is_done: whether the view answers that it has: then what it left unsent is sent now.
        :raises Refused: if a write was refused, whatever the view has made of that.
        :raises DBAPIError: if nobody knows whether a write was committed, and the view answers that it was.
        """
        lost = self._lost_commit()
        if lost is not None:
            if is_done:
                raise lost
            return
        if self._plan is not None and not is_done:
            self._abandon(self._plan)
        for session in self._sessions if is_done else ():
            if not session._is_clean() and session.is_active and self._is_to_be_flushed(session):
                session.flush()
        self._read_back_all()
        if is_done:
            self._refuse_what_is_broken()
            if not (self._loader_ends_transactions and self._has_written()):  # which it would commit
                for claim in self._claims:
                    if claim.company is not None:
                        claim.refuse_to_be_replaced()
        self._raise_if_refused(is_done=is_done)
        if self._plan is not None and is_done:
            self._plan.before_answer()

    def _refuse_what_is_broken(self) -> None:
        """Note as refused what a session was to write that can only be rolled back, since another was first."""
        tries: list[RowClaim | Creation] = [*self._claims, *self._creations.unmade]
        for tried in tries:
            if tried.session is not None and not tried.session.is_active and not tried.terms.is_reported:
                tried.refusal = tried.refusal or self._last_cause or databases.cause_of_break(tried.session)

    def _read_back_all(self) -> None:
        """Read back what was sent, whatever is answered: the application may commit it all the same."""
        if not (self._creations.unmade or self._has_written()):
            return
        for session in self._sessions:
            if session.is_active:
                with session.no_autoflush:
                    self._read_back(session)

    def roll_back(self, *, wait: bool = False) -> None:
        """Roll back every session that the request has used.

        :param wait: whether to wait then until whoever was first is done, unless it is known that he is.
        """
        for session in self._sessions:
            if _has_ended(session):
                continue
            try:
                session.rollback()
            except DBAPIError:  # a node of a cluster has ended the transaction, and says so even to ROLLBACK
                session.invalidate()
            except InvalidRequestError:  # a listener of after_commit has raised: all that SQLAlchemy lets it do
                session.close()
            session.expire_all()  # which it does by itself only where a transaction has begun
        if wait and not self._is_overtaken:
            try:
                self._wait_for_winner()
            except DBAPIError:
                self.roll_back()

    @property
    def is_pending(self) -> bool:
        """Whether some of the write is still to be committed, and nobody else is to do that.

        A session that was given a connection may write in the transaction of who gave it: of a test, say.
        """
        pending = [claim for claim in self._claims if claim.is_pending]
        return bool(pending) and not all(claim.is_in_another_s for claim in pending)

    @property
    def has_committed(self) -> bool:
        """Whether the request has committed a change of what it has claimed."""
        return any(claim.is_done_in_part for claim in self._claims)

    # What the events tell.

    def after_begin(self, session: Session, _: object, connection: Connection) -> None:
        """Note a session that the request uses."""
        self._note_session(session)
        self._begun[session] = connection
        if self._creations.unmade:
            self._transactions[connection].session = session

    def transient_to_pending(self, session: Session, _: object) -> None:
        """Note a session that is going to make something."""
        self._note_session(session)

    def before_commit(self, session: Session) -> None:
        """Read back what was written, if no flush is to come; otherwise after the last one."""
        if session.in_nested_transaction():
            return
        transaction = session.get_transaction()
        if transaction is not None:
            self._committing.add(transaction)
        if session._is_clean():
            self._read_back(session)

    def before_insert(self, mapper: Mapper[Any], connection: Connection, target: object) -> None:
        """See to what is inserted: it may be what the URL names, or take the place of what was deleted."""
        self._claim_awaited()
        state = instance_state(target)
        transaction, session = self._transactions[connection], state.session
        transaction.flushing(session)
        key = tuple(mapper.primary_key_from_instance(target))
        replaced = _deleted_under(mapper, key, session)
        if self._creations.unmade:
            self._creations.inserting(connection, mapper, state, key, replaced)
        for claim in self._claims:
            if claim.row.is_named_by(mapper, key):  # delete() and add() of one key become an UPDATE
                deleted = None if replaced is None else instance_state(replaced)
                claim.before_flush_writes(connection, transaction.depth, target, deleted, session)
            elif claim.row.table == databases.table_of(mapper):
                claim.company = "flush"

    def before_update(self, mapper: Mapper[Any], connection: Connection, target: object) -> None:
        """See to what is changed or deleted."""
        self._claim_awaited()
        state = instance_state(target)
        transaction, session = self._transactions[connection], state.session
        transaction.flushing(session)
        if self._creations.unmade:
            self._creations.replacing(connection, mapper, state)
        for claim in self._claims:
            if claim.is_of(mapper, state):
                claim.before_flush_writes(connection, transaction.depth, target, state, session)
            elif claim.row.table == databases.table_of(mapper):
                claim.company = "flush"

    before_delete = before_update

    def before_cursor_execute(
        self, connection: Connection, _cursor: object, _sql: str, _parameters: object, context: Any, _: bool
    ) -> None:
        """See to a statement that may write what is claimed: one of the view's own, or of a flush."""
        compiled = context.compiled
        if OWN in context.execution_options:
            return
        self._commit_sent_on = None
        if compiled is None:
            return
        told = statements.told_by(compiled)
        if told.is_text:
            self._refuse_to_end_by_statement(connection, told.statement)
        if told.tables is None:
            self._see_to_read(connection, compiled)
        elif isinstance(told.statement, SavepointClause):  # the event of that name does not tell the name
            self._see_to_savepoint(connection, told.statement.ident)
        else:
            self._see_to_write(connection, context, told.statement, told.tables)

    def after_cursor_execute(
        self, connection: Connection, cursor: Any, _sql: str, _parameters: object, context: Any, _: bool
    ) -> None:
        """Note that what is claimed may have been written."""
        executing = self._executing.pop(context, None)
        if executing is None:
            return
        transaction = self._transactions[connection]
        transaction.wrote(counts=not leaves_every_version(context.compiled))
        by_flush = executing.by == "flush"
        if not by_flush and _has_found_none(cursor, statements.statement_of(context.compiled)):
            for claim in executing.claims:
                if claim.connection is None:  # it is only reported, and another has deleted it, perhaps
                    claim.lose_sight()
        else:
            has_met_another = by_flush and cursor.rowcount == 0 and cursor.description is None
            for claim in executing.claims:
                if not has_met_another:
                    claim.written(connection, transaction.depth, executing.by)
                elif claim.terms.is_reported:
                    claim.lose_sight()
                elif claim.connection is None:
                    claim.is_overtaken = True  # its WHERE has named the version that is expected
                if not by_flush and claim.is_to_be_read_at_once:
                    claim.read_back_by_hand(transaction.depth)
        if not by_flush:
            self._creations.executed(cursor.rowcount)
            if self._creations.unmade and self._is_committing(connection):
                self._creations.look(None)  # by the COMMIT itself, the loader cannot be asked any more

    def handle_error(self, context: ExceptionContext) -> None:
        """Note what the database has refused, and what it has undone."""
        connection, error = context.connection, context.sqlalchemy_exception
        if connection is None or error is None:
            return
        cause = databases.cause_of(error)
        self._last_cause = cause or self._last_cause
        executing = self._executing.pop(context.execution_context, None) or self._executing.pop(connection, None)
        if context.statement is None and self._commit_sent_on is connection:
            self._commit_failed(connection, error)
            if databases.leaves_transaction_open(connection):
                context.is_disconnect, context.invalidate_pool_on_disconnect = True, False
        elif executing is not None:
            for claim in executing.claims:
                claim.note(error)
        if context.is_disconnect and self._is_committing(connection):
            for claim in self._claims:
                if claim.connection is connection and claim.is_pending:
                    claim.lost = error
        if self._creations.unmade:
            self._creations.note(error)
        self._note_end(connection, error)

    def _is_committing(self, connection: Connection) -> bool:
        """Tell whether a session's commit is going on, on a connection, and COMMIT is still to be sent."""
        return any(
            session.get_transaction() in self._committing
            for session, begun in self._begun.items()
            if begun is connection
        )

    def _note_end(self, connection: Connection, error: BaseException) -> None:
        """Note that an error has ended a transaction, or leaves nothing to do but to roll back."""
        cause = databases.cause_of(error)
        has_ended = databases.has_ended_transaction(connection, error)
        if has_ended or databases.has_broken_transaction(connection, error):
            self._transactions[connection].broke(error, ended=has_ended)
            for claim in self._claims:
                if claim.connection is connection and claim.is_pending and cause is not None:
                    claim.note(error)
                elif self._begun.get(claim.session) is connection and cause is not None:
                    claim.is_doubtful = True  # the view may swallow it: what was judged has to be looked at again
                if has_ended:
                    claim.roll_back(connection)
            if has_ended:
                self._creations.undo(connection)

    def after_flush(self, session: Session, _: object) -> None:
        """Note that a flush has written what it was going to."""
        for claim in self._claims:
            if claim.flushing is not None and claim.session is session:
                claim.flushed(self._depth(claim.connection))
        self._creations.flushed(session)

    def after_flush_postexec(self, session: Session, _: object) -> None:
        """See whether the URL names something by now; and after the last flush of a commit, read it back."""
        for each in self._transactions.values():
            each.flushed(session)  # only now: objects get their keys after after_flush
        if self._creations.unmade:
            self._creations.look(session)
        if session.get_transaction() in self._committing:
            self._read_back(session)

    def rollback_savepoint(self, connection: Connection, name: str, _: object) -> None:
        """Forget what was done inside a savepoint."""
        self._rolled_back(connection, self._transactions[connection].depth_inside(name))

    def release_savepoint(self, connection: Connection, name: str, _: object) -> None:
        """Let what was done inside a savepoint be done in what that is in."""
        transaction = self._transactions[connection]
        depth = transaction.depth_inside(name)
        if depth == 0:
            return
        for claim in self._claims:
            claim.release(connection, depth)
        self._creations.release(connection, depth)
        transaction.release(depth)
        if transaction.depth == 0 and transaction.is_committed_by_release:
            self.commit(connection)

    def rollback(self, connection: Connection, *_: object) -> None:
        """Forget what was done in a transaction."""
        if not self._claims and not self._creations.unmade:
            self._loader_ends_transactions = True  # it has not returned anything yet
        self._commit_sent_on = None
        self._rolled_back(connection, 0)
        self._transactions.pop(connection, None)

    def commit(self, connection: Connection, *_: object) -> None:
        """Let what was done in a transaction be the base; COMMIT is about to be sent."""
        if not self._claims and not self._creations.unmade:
            self._loader_ends_transactions = True  # it has not returned anything yet
        try:
            self._raise_if_not_to_be_committed(connection)
        except BaseException:
            databases.roll_back_by_hand(connection)
            self.rollback(connection)
            raise
        for claim in self._claims:
            claim.commit(connection)
        if self._creations.every:
            if self._transactions[connection].is_undone_by_commit:
                self._creations.undo(connection)
            else:
                self._creations.commit(connection)
        self._transactions.pop(connection, None)
        self._commit_sent_on = connection

    def _raise_if_not_to_be_committed(self, connection: Connection) -> None:
        """See to what was written and is not read back yet, and to a transaction that can only be rolled back."""
        if self._plan is not None:
            self._plan.before_commit(connection)
        transaction = self._transactions[connection]
        if transaction.broken_by is None:
            self._creations.before_commit(connection)
        for claim in self._claims:
            if claim.connection is connection:
                broken_by = _broken_for(claim, transaction)
                if broken_by is not None:  # PostgreSQL would answer COMMIT by ROLLBACK, silently
                    self._give_up(claim, broken_by)
                    raise broken_by
                if claim.unread_after:
                    claim.read_back_at_commit(is_own=self._begun.get(claim.session) is connection)

    rollback_twophase, commit_twophase = rollback, commit

    # What parts that belong to a target do to its version: see covering.py.

    def moving(self, mapper: Mapper[Any], key: Sequence[Any], connection: Connection) -> list[RowClaim]:
        """Return the claims to a row whose version is about to be moved, since a part of it changes.

        :raises RuntimeError: if that would wait for what the request itself holds, or cannot be guarded.
        """
        self._claim_awaited()
        claims = [claim for claim in self._claims if claim.row.is_named_by(mapper, key)]
        for claim in claims:
            claim.refuse_what_cannot_hold(connection)
            claim.refuse_to_wait(connection, is_row=True)
        moving = [claim for claim in claims if claim.expected.fingerprint is not ABSENT]
        self._executing[connection] = _Executing(moving, "flush")  # by a statement of ours, which may fail
        return moving

    def moved(self, claim: RowClaim, connection: Connection, target: object | None, *, is_moved: bool) -> None:
        """Note that the version of a row was moved from the one that is expected, or that it is another.

        :param target: the object of the row in the session that has moved it, if it is there.
        :raises StaleDataError: if it is another, and the claim is not only reported.
        """
        self._executing.pop(connection, None)
        if target is not None:
            claim.target, claim.session = target, instance_state(target).session or claim.session
        if not is_moved:
            if claim.is_pending and claim.connection is connection:
                return  # the request itself has deleted it
            if claim.terms.is_reported:  # another has, and nobody is refused
                claim.lose_sight()
                return
            claim.is_overtaken = True
            claim.refuse()
        claim.refusal = None
        claim.written(connection, self._depth(connection), "flush")

    # How it does it.

    def _see_to_savepoint(self, connection: Connection, savepoint: str) -> None:
        """See to a savepoint: on SQLite its driver has sent no BEGIN, perhaps; on AUTOCOMMIT its RELEASE commits.

        :raises RuntimeError: if the request was to write in it, and nothing would hold that together.
        """
        if databases.commits_by_itself(connection):
            for claim in self._claims:
                if self._begun.get(claim.session) is connection:
                    claim.refuse_what_cannot_hold(connection)
            for creation in self._creations.unmade:
                if creation.session is not None and self._begun.get(creation.session) is connection:
                    creation.refuse_what_cannot_hold(connection, "What is made")
            self._transactions[connection].is_committed_by_release = True
        else:
            databases.begin_before_savepoint(connection)
        self._transactions[connection].begin_savepoint(savepoint)

    def _see_to_read(self, connection: Connection, compiled: Compiled) -> None:
        """See to a statement that writes nothing: it may lock, and it may show what is to be made."""
        for claim in self._claims:
            claim.refuse_to_wait_for_read(connection, compiled)
            if claim.terms.is_hashing:
                claim.note_read(compiled)
        if self._creations.unmade:
            self._creations.reads(compiled)

    def _see_to_write(self, connection: Connection, context: Any, statement: Any, tables: frozenset[str]) -> None:
        """See to a statement that may write what is claimed: one of a flush, or of the view's own.

        :param tables: the names of the tables that it may write to.
        """
        self._claim_awaited()
        if self._plan is not None:
            self._plan.before_statement(connection)
        is_flushing = bool(self._transactions[connection].flushes)
        # A flush executes with a cache of its own; the view's statements have none.
        is_of_flush = is_flushing and context.execution_options.get("compiled_cache") is not None
        if not (is_of_flush or statements.is_plain_insert(statement)):  # which overwrites nothing
            self._creations.before_statement(connection, statement, tables)
        if len(self._transactions) > 1:
            self._refuse_to_wait_for_file(connection)
        concerned: list[RowClaim] = []
        transaction, parameters = self._transactions[connection], context.compiled_parameters
        for claim in self._claims:
            if claim.is_elsewhere(connection):
                continue
            if is_of_flush:
                may_write = claim.is_written_by_flush(connection, statement, tables, parameters)
            else:
                claim.note_company(statement, tables)
                may_write = claim.may_be_written_by(context.compiled, statement, tables)
            is_checked = claim.is_checked_by(connection, statement, parameters)
            claim.refuse_to_wait(connection, is_row=may_write or is_checked)
            if may_write:
                claim.refuse_to_wait_for_loader(connection, self._begun.get(claim.loaded_by))
                concerned.append(claim)
                see_to = claim.before_flush_statement if is_of_flush else claim.before_statement
                see_to(connection, transaction.depth)
        if not is_of_flush:
            concerned += self._creations.executing(connection, statement, tables, parameters)
        self._executing[context] = _Executing(concerned, "flush" if is_of_flush else "statement")

    def _refuse_to_end_by_statement(self, connection: Connection, statement: Any) -> None:
        """Refuse a text that ends a transaction, behind the back of SQLAlchemy, in which the target is held.

        :raises RuntimeError: if it is one.
        """
        if not statements.ends_transaction(statement, connection.dialect.name):
            return
        tries: list[RowClaim | Creation] = [*self._claims, *self._creations.unmade]
        for tried in tries:
            session = tried.session
            is_own = session is not None and self._begun.get(session) is connection
            if is_own and not tried.terms.is_reported:
                raise RuntimeError(_ENDS_BY_STATEMENT)

    def _claim_awaited(self) -> None:
        """Claim nothing more: :class:`ReadUnit` claims the target of a read here, at its first write."""

    def _note_session(self, session: Session) -> None:
        if session not in self._sessions:
            self._sessions.append(session)

    def _refuse_to_wait_for_file(self, connection: Connection) -> None:
        """Refuse a write on SQLite that would wait for what the request has written by another connection.

        :raises RuntimeError: if it would.
        """
        for other, transaction in self._transactions.items():
            has_written = other is not connection and transaction.wrote_at is not None
            if has_written and databases.would_wait(connection, other, is_row=False):
                raise RuntimeError(WAITS_FOR_ITSELF.format("has written to a file", "writes"))

    def _depth(self, connection: Any) -> int:
        """Return how many savepoints the unit has seen begin on a connection, and not end."""
        return self._transactions[connection].depth

    def _wait_for_winner(self) -> None:
        """Wait until whoever was first is done: by a lock on the row, or a moment where it is still to be made."""
        for pause in _PAUSES:
            if self._lock_rows():
                return
            self.roll_back()  # what is locked where there is no row would keep the winner from making it
            sleep(pause)
        self._lock_rows()

    def _lock_rows(self) -> bool:
        """Lock the rows of all claims, waiting for who has them, in transactions that have read nothing yet.

        :return: whether those that were going to be made are there, as far as that can be waited for.
        """
        for claim in self._claims:
            if not _has_ended(claim.session):
                databases.read(claim.connection_of_session(), claim.row, (), "exclusive")
        return self._creations.lock_rows()

    def _is_to_be_flushed(self, session: Session) -> bool:
        """Tell whether a session may have something unsent of a target: its own session, or another that began."""
        if session is self._of_application or any(claim.session is session for claim in self._claims):
            return True
        unsent = [instance_state(each) for each in (*session.new, *session.dirty, *session.deleted)]
        if unsent and self._creations.unmade:
            return True
        return any(claim.is_of(state.mapper, state) for claim in self._claims for state in unsent)

    def _rolled_back(self, connection: Connection, depth: int) -> None:
        """Forget what was done in a transaction, or in a savepoint and what is in that.

        No error of the database tells of an UPDATE that has found no row of the version it names: SQLAlchemy
        raises that itself. So whenever a flush that was to write the row is rolled back, whether it had come to it
        or not, the claim is doubtful.

        :param depth: the depth inside the savepoint; 0 for the whole transaction.
        """
        self._transactions[connection].roll_back(depth)
        for claim in self._claims:
            if claim.flushing is connection or claim.is_in_flush_by(self._begun.get(claim.session), connection):
                claim.flushing, claim.is_doubtful = None, True
            claim.roll_back(connection, depth)
        self._creations.roll_back(connection, depth)

    def _commit_failed(self, connection: Connection, error: BaseException) -> None:
        """Go back to what was before a COMMIT; where nobody knows whether it was done, nothing more is known."""
        self._commit_sent_on = None
        if self._plan is not None:
            self._plan.commit_failed()
        is_refused = databases.cause_of(error) is not None
        for claim in self._claims:
            if claim.commit_failed(connection):
                if is_refused:
                    claim.note(error)
                elif not isinstance(error, IntegrityError):  # of a constraint that is looked at last
                    claim.lose_sight()
                    claim.lost = error

    def _read_back(self, session: Session) -> None:
        """Learn what the database has made of what a session has sent, and take the tags, while rows are held.

        What was judged and is not written is made sure of: it has to be as it was judged when the rest counts.
        """
        if self._creations.unmade:
            self._creations.look(session)
        for claim in self._claims:
            if claim.session is not session:
                continue
            if claim.connection is not None:
                transaction = self._transactions[claim.connection]
                broken_by = _broken_for(claim, transaction)
                if claim.connection.invalidated:
                    claim.roll_back(claim.connection)  # the server was lost, and with it what it has not committed
                elif broken_by is not None:
                    self._give_up(claim, broken_by)
                elif claim.unread_after or self._may_have_been_written_beside(claim):
                    claim.read_back(transaction.depth)
            elif self._has_written_by(session) and not (
                claim.has_committed or claim.terms.is_reported or claim.base.fingerprint is ABSENT
            ):
                connection = self._connection_of(claim)
                claim.refuse_what_cannot_hold(connection)
                claim.hold(connection, self._depth(connection), "shared")
            if claim.company is not None and not self._loader_ends_transactions:
                claim.refuse_to_be_replaced()

    def _may_have_been_written_beside(self, claim: RowClaim) -> bool:
        """Tell whether a row that is held, and has no version, may have been written by a trigger."""
        is_untouched = not (claim.is_versioned or claim.is_pending or claim.has_committed)
        return is_untouched and self._has_written_by(claim.session)

    def _connection_of(self, claim: RowClaim) -> Connection:
        """Return the connection of a claim's session, which gives none after a commit in a savepoint's block."""
        try:
            return claim.connection_of_session()
        except InvalidRequestError:
            return self._begun[claim.session]

    def _has_written_by(self, session: Session) -> bool:
        """Tell whether a session has written in what it is about to commit, on whichever of its databases."""
        others = [connection for each, connection in self._begun.items() if each is not session]
        return any(
            transaction.counts_from is not None and connection not in others
            for connection, transaction in self._transactions.items()
        )

    def _has_written(self) -> bool:
        going_on = self._transactions  # mostly none any more, when it is asked
        return bool(going_on) and any(each.counts_from is not None for each in going_on.values())

    # What a refusal is.

    def _give_up(self, claim: RowClaim, error: BaseException) -> None:
        """Give up a transaction that the database has rolled back, or is going to: what it did to the row is lost.

        :raises StaleDataError: if another writer is the reason, and no mistake of the view's own.
        """
        claim.roll_back(claim.connection)
        if databases.cause_of(error) is not None and not claim.terms.is_reported:
            claim.refuse()

    def _refuse_behind(self, error: Exception) -> None:
        """Raise :class:`Refused` where an error that leaves the view hides that another writer was first."""
        lost = self._lost_commit()
        if lost is not None:  # what is stored may be this request's own, whoever else it looks like
            if databases.cause_of(error) is not None:
                raise lost from error
            return
        if not (isinstance(error, StaleDataError) and self._is_overtaken):  # which leaves nothing to be looked at
            if isinstance(error, SQLAlchemyError):
                for claim in self._claims:
                    claim.is_doubtful = claim.is_doubtful or claim.connection is None
            self._raise_if_refused(error)
            if isinstance(error, StaleDataError) and databases.is_of_merge(error):
                return  # the target is as it was judged: the view has merged a state of long ago
        cause = databases.cause_of(error)
        if self._creations.is_key_taken(error) or self._has_met_another(error):
            cause = "conflict"
        elif cause is None and isinstance(error, SQLAlchemyError):
            cause = self._last_cause  # the view has swallowed the error that says why
        if cause is not None:
            raise Refused("partial" if self.has_committed else cause) from error

    def _has_met_another(self, error: Exception) -> bool:
        """Tell whether an INSERT has met what another has made, where the request has deleted what its URL named.

        No error tells: what is unique need not be the key. So the loader is asked; all sessions are rolled back
        before, so that they can load again.
        """
        is_violation = isinstance(error, IntegrityError)
        deleted = [claim for claim in self._claims if is_violation and claim.is_deleted_for_good]
        if deleted:
            self.roll_back()
        return any(claim.finds_any() for claim in deleted)

    @property
    def _is_overtaken(self) -> bool:
        """Whether another writer was first at what is claimed, and is done."""
        return any(claim.is_overtaken for claim in self._claims)

    def _lost_commit(self) -> BaseException | None:
        """Return the error of a COMMIT, if nobody knows whether that was done."""
        for claim in self._claims:
            if claim.lost is not None and not claim.terms.is_reported:
                return claim.lost
        return None

    def _raise_if_refused(self, error: Exception | None = None, *, is_done: bool = True) -> None:
        """Raise :class:`Refused` where a write of a target was refused, and was not done after that.

        :param error: what ends the view, so that what it has not committed is lost anyway.
        :param is_done: whether the view answers that it has done it: then there has to be no doubt.
        """
        tries: list[RowClaim | Creation] = [claim for claim in self._claims if claim.may_be_refused]
        tries += self._creations.unmade
        if not tries:
            return
        for tried in tries:
            if tried.misuse is not None and error is None:
                raise tried.misuse
            if tried.is_doubtful and tried.refusal is None:
                try:
                    is_answer = error is None or isinstance(error, HTTPException)  # after_request may commit
                    self._look_again(tried, has_raised=not is_answer)
                except DBAPIError:  # a database that takes no writes, or is gone: the view may know, and say so
                    tried.is_doubtful = True
                    if is_done and error is None:
                        raise
        causes = [tried.refusal for tried in tries if tried.refusal is not None]
        if causes:
            raise Refused("partial" if self.has_committed else causes[0]) from error

    def _look_again(self, tried: RowClaim | Creation, *, has_raised: bool) -> None:
        """Hold the row once more, to see whether a try that failed has met another writer: no error tells that.

        :param has_raised: whether an error ends the view that is no answer of its own.
        """
        tried.is_doubtful = False
        if isinstance(tried, RowClaim) and not tried.session.in_transaction():
            tried.session = tried.loaded_by  # another would wait for what that has locked, or has ended
        session = tried.session
        has_begun = session is not None and session.in_transaction()
        try:
            self._look(tried, session, has_raised=has_raised)
        finally:
            if session is not None and not has_begun:
                session.rollback()  # the view may have closed it: its connection is given back

    def _look(self, tried: RowClaim | Creation, session: Session | None, *, has_raised: bool) -> None:
        for _ in range(2):
            if session is not None and (has_raised or not session.is_active):
                session.rollback()
            try:
                if isinstance(tried, RowClaim):
                    connection = tried.connection_of_session()
                    tried.hold(connection, self._depth(connection))
                    tried.is_doubtful = False
                else:
                    self._creations.look_again(tried)
            except StaleDataError:
                return
            except (DBAPIError, PendingRollbackError) as error:
                if databases.follows_another(error) and session is not None:  # the view has swallowed that one
                    session.rollback()
                    continue
                if databases.cause_of(error) is None:
                    raise
            return


@dataclass(slots=True)
class _Executing:
    """A statement that is executed.

    :param claims: the claims to the rows that it may write.
    :param by: who sends it.
    """

    claims: list[RowClaim]
    by: Writer


class ReadUnit(SessionUnit):
    """What a read does to its target, which may be counted, or marked as seen: the last writer wins, as ever.

    :param target: what its view is handed; it is claimed as soon as anything is written.
    :param terms: of a claim that is only reported.
    """

    def __init__(self, target: object, terms: Terms) -> None:
        super().__init__(None)
        self._awaited: tuple[object, Terms] | None = (target, terms)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _units.reset(self._token)  # it refuses nothing

    def etag_after(self, etag: str | None) -> str | None:
        """Return the tag of what the view has left.

        :param etag: the one of before.
        """
        if self._awaited is not None:
            return etag
        if not self._claims:
            return None  # the view has let go of it, and has written something
        self._read_back_all()
        for claim in self._claims:
            if claim.has_committed or claim.is_pending or not claim.is_tag_known:
                return claim.etag
        return etag

    def _claim_awaited(self) -> None:
        if self._awaited is not None:
            awaited, self._awaited = self._awaited, None
            if instance_state(awaited[0]).session is not None:
                claim = self.claim(*awaited)
                if isinstance(claim, RowClaim) and instance_state(awaited[0]).expired_attributes:
                    claim.leave_unread()  # to look would begin a transaction
                else:
                    claim.judged(None)


def _has_ended(session: Session) -> bool:
    """Tell whether a session had joined another's transaction, as a history library's does, and that has ended."""
    return isinstance(session.bind, Connection) and session.bind.closed


def _has_found_none(cursor: Any, statement: Any) -> bool:
    """Tell whether a statement has changed nothing; of what it returns, SQLite counts rows as they are fetched."""
    is_counted = cursor.description is None and statements.changes_only_what_it_finds(statement)
    return is_counted and bool(cursor.rowcount == 0)


def _broken_for(claim: RowClaim, transaction: Transaction) -> BaseException | None:
    """Return the error that leaves a claim's transaction nothing to do but to roll back.

    Of a claim that is only reported, what comes after a transaction that the database has ended counts, as it does
    where nothing is decorated.
    """
    return None if claim.terms.is_reported and transaction.has_ended else transaction.broken_by


_ENDS_BY_STATEMENT = (
    "A statement of this guarded view ends the transaction that its target is guarded in, and SQLAlchemy does not "
    "know. Write session.commit() or session.rollback(). What commits by itself on MariaDB, as CREATE, TRUNCATE "
    "and LOCK TABLES, belongs on a connection of its own."
)

_BEGUN_ALREADY = (
    "The loader of a decorated view has begun the transaction that the view writes in, by its SELECT. In place "
    "of `with session.begin():`, end the view with session.commit(); or write `with session.begin_nested():`, and "
    "then that."
)


def refused_by(error: Exception) -> Cause | None:
    """Tell why the database refused what the view of a read was to write; ``None`` where it did not.

    Within a write, that is for the story of the write to tell.
    """
    if units_in_force() or (isinstance(error, StaleDataError) and databases.is_of_merge(error)):
        return None
    return databases.cause_of(error)


def note_what_to_write(error: BaseException) -> None:
    """Say beside an error that leaves a view what to write, where SQLAlchemy's own words do not."""
    if isinstance(error, InvalidRequestError) and databases.is_begun_already(error):
        error.add_note(_BEGUN_ALREADY)


def session_of(target: object) -> Session:
    """Return the session of an object.

    :raises RuntimeError: if it is in none whose writes can be guarded.
    :raises TypeError: if those of its model cannot be.
    """
    state = instance_state(target)
    session = state.session
    if session is None:
        raise RuntimeError(
            f"This {state.class_.__name__} is in no session, so that nothing can guard it: "
            "let the loader return an object that is attached to the session that the view commits."
        )
    if state.async_session is not None:
        raise RuntimeError(
            f"This {state.class_.__name__} is in an AsyncSession, whose writes cannot be guarded: use a Session."
        )
    if not state.mapper.base_mapper.confirm_deleted_rows:  # the only one that SQLAlchemy asks
        raise TypeError(
            f"{state.class_.__name__} has confirm_deleted_rows=False, so that a stale DELETE would pass for done: "
            "remove that from its __mapper_args__."
        )
    return session


def _deleted_under(mapper: Mapper[Any], key: tuple[Any, ...], session: Session | None) -> object | None:
    """Return the object that a flush deletes under a key which it inserts; ``None`` where there is none."""
    if session is None or None in key:
        return None
    found = session.identity_map.get(mapper.identity_key_from_primary_key(key))
    return found if found is not None and found in session.deleted else None


# The events are listened to from the import on: one who adds a listener while requests run can break another who
# iterates over them.


def _tell(target: type, *names: str) -> None:
    """Let the units that are in force be told of events, each by the method of its name."""

    def listen(name: str) -> None:
        method = getattr(SessionUnit, name)

        def tell(*arguments: Any) -> None:
            for unit in _units.get():
                method(unit, *arguments)

        event.listen(target, name, tell)

    for name in names:
        listen(name)


_tell(
    Session,
    "after_begin",
    "transient_to_pending",
    "before_commit",
    "after_flush",
    "after_flush_postexec",
)
_tell(Mapper, "before_insert", "before_update", "before_delete")
_tell(Engine, "before_cursor_execute", "after_cursor_execute", "handle_error")
_tell(Engine, "rollback_savepoint", "release_savepoint")
_tell(Engine, "rollback", "rollback_twophase", "commit", "commit_twophase")
event.listen(Engine, "do_connect", databases.let_rollback_pass)
