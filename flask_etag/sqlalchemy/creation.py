"""A claim to what a URL is going to name: whether that is what the request has made, or another's."""

from __future__ import annotations

from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Compiled, Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstanceState, Session
from sqlalchemy.orm.attributes import instance_state, set_committed_value
from sqlalchemy.orm.exc import StaleDataError

from flask_etag import log
from flask_etag.backend import Terms
from flask_etag.sqlalchemy import databases, statements
from flask_etag.sqlalchemy.claims import UNREAD, Known
from flask_etag.sqlalchemy.databases import Cause, Row
from flask_etag.sqlalchemy.holds import RowClaim
from flask_etag.sqlalchemy.models import (
    has_keys_as_sent,
    is_stored_as_sent,
    is_versioned,
    key_of,
    names_of_columns,
    state_in_session,
    version_key,
)
from flask_etag.sqlalchemy.unsent import leaving_unsent


@dataclass(slots=True)
class _Executed:
    """A statement of the view's own: what it may have made or taken away is known by its tables alone.

    :param connection: by which it was executed.
    :param depth: how many savepoints were open on that.
    :param keys: the keys of the rows that it makes; ``None`` where it does not tell them.
    :param rows: how many rows that are.
    :ivar found: the keys of what an upsert has found, and not made, as far as could be looked for.
    :ivar rowcount: what the database has answered; ``None`` where it has refused.
    :ivar is_committed: whether other connections can see what it has done.
    :ivar is_judged: whether the loader was asked after it, or cannot find what it has not made.
    """

    statement: Any
    tables: frozenset[str]
    connection: Connection
    depth: int
    keys: list[tuple[Any, ...]] | None
    rows: int
    found: list[tuple[Any, ...]] = field(default_factory=list)
    rowcount: int | None = None
    is_committed: bool = False
    is_judged: bool = False

    def may_have_made(self, row: Row) -> bool:
        """Tell whether it may have made a row: not, where it names others."""
        if not statements.may_insert(self.statement):
            return False
        if self.keys is None or row.key in self.keys or not has_keys_as_sent(row.mapper, row.key):
            return True
        kinds = tuple(map(type, row.key))
        return any(tuple(map(type, key)) != kinds for key in self.keys)  # it may be spelt otherwise

    def has_replaced(self, connection: Connection, row: Row) -> bool:
        """Tell whether it has found a row, and not made it."""
        if not statements.may_upsert(self.statement):
            return False
        is_known = self.keys is not None
        return row.key in self.found or databases.has_replaced(
            connection, row, self.rowcount or 0, self.rows, is_known=is_known
        )


class Creation:
    """A claim to what a URL is going to name, which names nothing yet.

    :param terms: what the write has to hold to.
    :param session: the session of the application; ``None`` where it has none.
    :ivar claim: the claim to what the request has made, as long as that is not undone.
    """

    refusal: Cause | None = None
    """Why the last try to make it was refused."""

    misuse: RuntimeError | None = None
    """Why nothing can be guarded by its connection."""

    is_doubtful = False
    """Whether a try failed, and it is still to be seen whether another has made it."""

    is_unheard = False
    """Whether its loader could not answer when it was asked last: its session could load nothing."""

    def __init__(self, terms: Terms, session: Session | None) -> None:
        self.terms = terms
        self.session = session
        self.claim: RowClaim | None = None
        self._made: list[InstanceState[Any]] = []
        self._inserted: dict[InstanceState[Any], Connection] = {}  # of these, what is not committed, and by what
        self._written: dict[InstanceState[Any], Connection] = {}  # the same, and what was changed since
        self._versions: dict[InstanceState[Any], object] = {}  # of what was made, as the last flush has left it
        self._kept: list[object] = []  # the session would let go of what it has written
        self._rows: list[Row] = []  # of what was going to be made: the winner's row, where another has made it
        self._replaced: list[InstanceState[Any]] = []
        self._unjudged: list[InstanceState[Any]] = []  # of these, what was replaced since the loader was asked
        self._rewritten: list[InstanceState[Any]] = []  # what it has made by another session, and changes
        self._executed: list[_Executed] = []
        self._read: frozenset[str] = frozenset()  # the tables that its loader reads
        self._is_finding = False
        self._is_loaded_by_view = False  # whether what the loader found last was in its session before
        self._has_met_another = False  # whether a unique violation has told of another's row

    @property
    def etag(self) -> str | None:
        """The tag of what the request has made; ``None`` where it has made nothing."""
        return None if self.claim is None else self.claim.etag

    def judged(self, etag: str | None) -> None:
        """Note that there was nothing."""

    @property
    def rows(self) -> list[Row]:
        """The rows that were going to be made, where their keys were known before."""
        return self._rows

    def refuse_what_cannot_hold(self, connection: Connection, name: str) -> None:
        """Refuse a connection on which nothing holds the statements of a write together.

        :param name: of what is written.
        :raises RuntimeError: if it is one.
        """
        try:
            databases.refuse_autocommit(connection, name)
        except RuntimeError as error:
            self.misuse = error
            raise

    def inserting(
        self, connection: Connection, state: InstanceState[Any], key: tuple[Any, ...], replaced: object | None
    ) -> None:
        """Note an object that a flush is about to insert, and one of the same key that it deletes."""
        self.session = self.session or state.session
        self._made.append(state)
        self._inserted[state] = self._written[state] = connection
        self._kept.append(state.obj())
        if None not in key:
            self._rows.append(Row(state.mapper, key, state.identity_token))
        if replaced is not None:
            self.replacing(connection, instance_state(replaced))

    def flushed(self, session: Session) -> None:
        """Note what tells the states of what a session has made, while its objects know that."""
        for made in (*self._made, *self._rewritten):
            if made.session is not session:
                continue
            self._versions.pop(made, None)  # the latest comes last
            if not is_versioned(made.mapper):
                self._versions[made] = deepcopy(
                    {name: made.dict[name] for name in names_of_columns(made.mapper) if name in made.dict}
                )
                continue
            column: Any = made.mapper.version_id_col
            name = version_key(made.mapper)
            version = made.dict.get(name)
            if not is_stored_as_sent(column, version):
                row = Row(made.mapper, tuple(made.mapper.primary_key_from_instance(made.obj())))
                connection = databases.connection_to_write(session, made.mapper, made.identity_token)
                version = (databases.read(connection, row, (name,)) or {name: None})[name]
                if version is None:  # pragma: no cover - a row that is gone in its own flush
                    continue
                set_committed_value(made.obj(), name, version)  # or a loader that locks takes it for stale
            self._versions[made] = version

    def has_committed(self, row: Row) -> bool:
        """Tell whether the request may have made a row, and committed that: the rest is undone by now."""
        executed = [each for each in self._executed_on(row) if each.is_committed and each.rowcount]
        return self.has_made(row) or any(each.may_have_made(row) for each in executed)

    def has_made(self, row: Row) -> bool:
        """Tell whether an object that the request has made is one of a row, and is not undone."""
        return any(_names(made, row) for made in self._made)

    def replacing(self, connection: Connection, state: InstanceState[Any]) -> None:
        """Note an object that a flush is about to change or delete, unless the request has made it."""
        is_own = any(state is made for made in self._made)
        if not is_own and state.key is not None:
            row = Row(state.mapper, key_of(state))
            is_own = self.has_made(row) or self._has_inserted(connection, row)
        if not is_own:
            self._replaced.append(state)
            self._unjudged.append(state)
        elif state in self._made:
            self._written[state] = connection
        else:
            self._rewritten.append(state)

    def has_made_elsewhere(self, state: InstanceState[Any]) -> bool:
        """Tell whether another session of the request has made the row of an object."""
        if state.key is None or any(state is made for made in self._made):
            return False
        row = Row(state.mapper, key_of(state))
        return any(_names(made, row) and made.session is not state.session for made in self._made)

    def executing(
        self,
        connection: Connection,
        depth: int,
        statement: Any,
        tables: frozenset[str],
        parameters: Any,
        *,
        by_loader: bool,
    ) -> object | None:
        """Note a statement that is about to be executed.

        :param depth: how many savepoints are open.
        :param by_loader: whether it is executed on the connection of the loader's session.
        :param parameters: its sets of parameters, by name.
        :return: what the URL names by now, and the statement may replace or delete.
        """
        rows = statements.rows_of(statement, len(parameters))
        keys = statements.keys_of(statement, parameters)
        executing = _Executed(statement, tables, connection, depth, keys, rows)
        executing.is_judged = statements.is_plain_insert(statement)
        if keys and statements.may_upsert(statement):
            executing.found = databases.found_before_upsert(connection, statement.table, keys)
        self._executed.append(executing)
        is_sqlite = connection.dialect.name == "sqlite"
        may_meet = statements.may_upsert(statement) and (is_sqlite or (by_loader and bool(executing.found)))
        if may_meet or statements.may_delete(statement):
            if is_sqlite and not statements.is_text(statement):
                databases.lock_file(connection, statement.table)  # so that nobody makes it before that
            reads = databases.reading_what_is_committed(self.session, connection) if by_loader else nullcontext()
            with reads:
                return self.ask()
        return None

    def executed(self, rowcount: int) -> None:
        """Note what the database has answered to the last one, or to a part of it."""
        if self._executed:
            last = self._executed[-1]
            last.rowcount = (last.rowcount or 0) + max(rowcount, 0)
            if last.keys and statements.may_upsert(last.statement):
                last.found += databases.found_by_upsert(last.connection, last.statement.table, last.keys)

    def roll_back(self, connection: Connection, depth: int) -> None:
        """Forget the statements of a transaction, or of a savepoint and those inside it."""
        self._executed = [
            each for each in self._executed if each.connection is not connection or each.depth < depth
        ]
        if depth == 0:
            self._end(connection)

    def commit(self, connection: Connection) -> None:
        """Note that others can see, and change, what a connection has made."""
        for each in self._executed:
            each.is_committed = each.is_committed or each.connection is connection
        self._end(connection)

    def _end(self, connection: Connection) -> None:
        self._inserted = {made: by for made, by in self._inserted.items() if by is not connection}
        self._written = {made: by for made, by in self._written.items() if by is not connection}

    def undo(self, connection: Connection) -> None:
        """Forget what a connection has made: the database is about to undo it, and no session learns of that."""
        self._made = [made for made in self._made if self._inserted.get(made) is not connection]
        self.is_doubtful = True

    def release(self, connection: Connection, depth: int) -> None:
        """Let the statements of a savepoint be those of what it is in."""
        for each in self._executed:
            if each.connection is connection and each.depth >= depth:
                each.depth = depth - 1

    def refuse(self) -> None:
        """Refuse the creation.

        :raises StaleDataError: always.
        """
        self.refusal = "conflict"
        raise StaleDataError("The row has been made since the request was judged.")

    def find(self) -> object | None:
        """Return what the URL names by now; ``None`` where that cannot be asked, which is noted."""
        with databases.as_far_as_it_can_be_asked():
            return self.ask()
        self.is_unheard = True
        return None

    def ask(self) -> object | None:
        """Ask the loader; where it writes, and that leads here again, there is nothing until it has answered.

        :raises SQLAlchemyError: if it cannot be asked.
        """
        if self._is_finding:
            return None
        self._is_finding = True
        known = () if self.session is None else frozenset(self.session.identity_map.keys())
        try:
            with nullcontext() if self.session is None else leaving_unsent(self.session):
                found = self.terms.find()
            state = state_in_session(found)
            self._is_loaded_by_view = state is not None and state.key in known
            self.is_unheard = False
            self._unjudged.clear()
            for each in self._executed:
                each.is_judged = True
            return found
        finally:
            self._is_finding = False

    def reads(self, compiled: Compiled) -> None:
        """Note which tables the loader reads, when it is asked."""
        if self._is_finding:
            self._read |= statements.tables_read_by(compiled)

    def is_found_among(self, statement: Any, tables: frozenset[str]) -> bool:
        """Tell whether the loader may find what a statement writes.

        :param tables: the names of the tables that it may write to.
        """
        if not self._read:
            self.find()
        return statements.may_be_about(statement, tables, self._read or statements.ANY_TABLE)

    @property
    def has_written(self) -> bool:
        """Whether the request has written anything that the URL may name by now."""
        return bool(self._made or self._replaced or self._executed)

    @property
    def has_replaced(self) -> bool:
        """Whether the request has changed or deleted objects that it has not made."""
        return bool(self._replaced)

    @property
    def may_have_replaced(self) -> bool:
        """Whether the request may have changed or deleted what it has not made, by a statement perhaps."""
        return self.has_replaced or any(
            each.rowcount and not statements.is_plain_insert(each.statement) for each in self._executed
        )

    def to_be_asked_for(self, connection: Connection) -> list[tuple[Any, frozenset[str]]]:
        """Return the statements that a connection is about to commit and that may have replaced another's row.

        :return: each with the names of the tables that it may write to.
        """
        return [
            (each.statement, each.tables)
            for each in self._executed
            if each.connection is connection and each.rowcount and not each.is_judged
        ]

    def refuse_to_commit_unheard(self, connection: Connection, *, is_own: bool) -> None:
        """Refuse to commit statements that may have replaced another's row, where the loader cannot be asked.

        :param is_own: whether the connection is that of the loader's session: it is asked before its own COMMIT.
        :raises StaleDataError: if another has made the row, as was seen before.
        :raises RuntimeError: if nobody knows whether another has.
        """
        is_broken = self.session is not None and not self.session.is_active
        read = self._read or statements.ANY_TABLE
        asked_for = self.to_be_asked_for(connection)
        is_unheard = is_broken or (self.is_unheard and not is_own)
        if is_unheard and any(statements.may_be_about(each, tables, read) for each, tables in asked_for):
            self.refuse_unheard()

    def refuse_to_replace_unheard(self) -> None:
        """Refuse objects that another session has changed or deleted, where the loader cannot be asked.

        :raises StaleDataError: if another has made the row, as was seen before.
        :raises RuntimeError: if nobody knows whether another has.
        """
        read = self._read or statements.ANY_TABLE
        written = [databases.tables_of(each.mapper) for each in self._unjudged]
        if self.is_unheard and any(statements.may_be_about(None, tables, read) for tables in written):
            self.refuse_unheard()

    def refuse_unheard(self) -> None:
        """Refuse what may replace another's row, since the loader cannot be asked.

        :raises StaleDataError: if another has made the row, as was seen before.
        :raises RuntimeError: if nobody knows whether another has.
        """
        self.is_doubtful = True  # should the view swallow this, it can be asked by the end, as a rule
        if self.refusal is not None:
            self.refuse()
        raise RuntimeError(_CANNOT_BE_ASKED)

    def claim_on(self, target: object) -> RowClaim | None:
        """Claim what the URL names by now; ``None`` where that is in no session.

        :raises StaleDataError: if another has made it.
        """
        state = state_in_session(target)
        if state is None:
            return None
        session: Any = state.session
        claim = RowClaim(self.terms, target, session)
        connection = claim.connection_of_session()
        if not self._has_made(connection, claim.row):
            if self._is_loaded_by_view and not _is_stored(connection, claim.row):
                return None  # a savepoint that was rolled back has left it in the session
            if self._may_have_changed(claim.row):  # or it has only tried to make it, as it should
                log.once(
                    "refused, since it changed what its loader did not find before, and finds now. If nobody else "
                    "made that meanwhile, let the loader return it, or let the view add() a new object."
                )
            self.refuse()
        self.is_doubtful, self.refusal, self.claim = False, None, claim
        is_of_view = self._is_loaded_by_view or any(state is made for made in self._made)
        if not is_of_view and state.persistent and not state.modified:
            session.expire(target)  # the view has not asked for it, and is going to see what it then has
        if not self._is_made_by(connection, claim):  # but by one that is committed: others may have been there
            claim.has_committed = True
            versions = [version for made, version in self._versions.items() if _names(made, claim.row)]
            claim.rebase(Known(versions[-1] if versions else UNREAD))
            if is_of_view:
                with databases.as_far_as_it_can_be_asked():  # it may be gone by now
                    claim.take_tag_if_it_is_as_left()
        return claim

    def _is_made_by(self, connection: Connection, claim: RowClaim) -> bool:
        """Tell whether the transaction that is going on has made a row, and not another of the request."""
        if any(each.session is claim.session for each in self._written if _names(each, claim.row)):
            return True
        executed = [each for each in self._executed_on(claim.row) if each.connection is connection]
        return any(each.may_have_made(claim.row) and not each.is_committed for each in executed)

    def note(self, error: BaseException) -> None:
        """Note that a try to make it may have failed."""
        self.is_doubtful = True
        self._has_met_another = self._has_met_another or self.is_key_taken(error)

    @property
    def can_see_what_it_met(self) -> bool:
        """Whether the loader would find the row, if there is one, that an INSERT has met."""
        if not (self._has_met_another and self._made) or self.session is None:
            return True
        made = self._made[0]
        connection = databases.connection_to_write(self.session, made.mapper, made.identity_token)
        return databases.sees_what_is_committed(connection)

    def is_key_taken(self, error: BaseException) -> bool:
        """Tell whether an error means that another has made what the request was going to make first."""
        is_violation = isinstance(error, IntegrityError) and bool(self._made)
        return is_violation and databases.is_key_taken(error, self._made[0].mapper)  # type: ignore[arg-type]

    def _has_made(self, connection: Connection, row: Row) -> bool:
        """Tell whether the request itself has made a row, and has not replaced another's by that.

        :param connection: one that sees the row.
        """
        if any(_names(each, row) for each in self._replaced):
            return False
        executed = self._executed_on(row)
        if any(statements.may_delete(each.statement) and each.rowcount for each in executed):
            return False
        return self.has_made(row) or self._has_inserted(connection, row)

    def _may_have_changed(self, row: Row) -> bool:
        """Tell whether the request may have changed a row that it has not made."""
        if any(_names(each, row) for each in self._replaced):
            return True
        return any(
            each.rowcount and not statements.is_plain_insert(each.statement) for each in self._executed_on(row)
        )

    def _executed_on(self, row: Row) -> list[_Executed]:
        """Return the statements that were executed, and may have written a row."""
        on_table = [each for each in self._executed if each.tables & {row.table, *statements.ANY_TABLE}]
        return [each for each in on_table if each.rowcount is not None]

    def _has_inserted(self, connection: Connection, row: Row) -> bool:
        """Tell whether a statement of the request's has inserted a row, and not replaced it."""
        seen = [each for each in self._executed_on(row) if each.is_committed or each.connection is connection]
        inserts = [each for each in seen if each.may_have_made(row)]
        return bool(inserts) and not any(each.has_replaced(connection, row) for each in inserts)


def _is_stored(connection: Connection, row: Row) -> bool:
    """Tell whether a row is there, as far as that can be asked."""
    with databases.as_far_as_it_can_be_asked():
        return databases.read_held(connection, row, ()) is not None
    return True


def _names(state: InstanceState[Any], row: Row) -> bool:
    """Tell whether an object is one of a row; none is that was not inserted, or whose INSERT is undone."""
    return state.key is not None and row.is_named_by(state.mapper, key_of(state))


_CANNOT_BE_ASKED = (
    "The session of the loader can load nothing at the moment, so that it cannot be asked whether somebody else "
    "has made what the URL names by now, and what is written by another session or connection may overwrite that. "
    "Write session.rollback() before it; or, where the session was ended inside of its own block (with "
    "session.begin_nested()), leave the block first."
)
