"""What a request is going to make: when its loader is asked after that, and what may be done until then.

Under ``create=True`` there is no row that could be claimed. The loader alone knows what the URL names, so it is
asked again: after each flush, before each statement of the view's own that may overwrite, and before the commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy import Compiled, Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import InstanceState, Mapper, Session

from flask_etag.backend import Terms
from flask_etag.sqlalchemy import databases
from flask_etag.sqlalchemy.creation import Creation
from flask_etag.sqlalchemy.databases import Row
from flask_etag.sqlalchemy.holds import RowClaim
from flask_etag.sqlalchemy.models import state_in_session
from flask_etag.sqlalchemy.transactions import Transaction


class Creations:
    """What one request is going to make.

    :param transactions: those of its unit, by their connections.
    :param begun: the connection of the last transaction of each of its sessions.
    :param claims: those of its unit: what was made is claimed by one more.
    :ivar every: all of them.
    :ivar unmade: those of which nothing is made yet.
    """

    def __init__(
        self,
        transactions: Mapping[Connection, Transaction],
        begun: Mapping[Session, Connection],
        claims: list[RowClaim],
    ) -> None:
        self.unmade: list[Creation] = []
        self.every: list[Creation] = []
        self._transactions, self._begun, self._claims = transactions, begun, claims

    def add(self, terms: Terms, session: Session | None) -> Creation:
        """Claim what is to be made.

        :param session: the session of the application, if it has one.
        """
        creation = Creation(terms, session)
        self.every.append(creation)
        self.unmade.append(creation)
        return creation

    def clear(self) -> None:
        """Forget all of them."""
        self.every.clear()
        self.unmade.clear()

    # What the events tell.

    def inserting(
        self,
        connection: Connection,
        mapper: Mapper[Any],
        state: InstanceState[Any],
        key: tuple[Any, ...],
        replaced: object | None,
    ) -> None:
        """Note an object that a flush is about to insert, and one of the same key that it deletes."""
        for creation in self.unmade:
            creation.refuse_what_cannot_hold(connection, mapper.class_.__name__)
            creation.inserting(connection, state, key, replaced)

    def replacing(self, connection: Connection, mapper: Mapper[Any], state: InstanceState[Any]) -> None:
        """Note an object that a flush is about to change or delete, which another session may have made."""
        for creation in list(self.unmade):
            creation.refuse_what_cannot_hold(connection, mapper.class_.__name__)
            if creation.has_made_elsewhere(state):
                self._look_from_elsewhere(creation, connection, None, databases.tables_of(mapper))
                if creation.claim is None:
                    self._find_and_claim(creation)
            if creation.claim is None:
                creation.replacing(connection, state)

    def reads(self, compiled: Compiled) -> None:
        """Note what a SELECT reads, which may be one of the loader's."""
        for creation in self.unmade:
            creation.reads(compiled)

    def before_statement(self, connection: Connection, statement: Any, tables: frozenset[str]) -> None:
        """See whether the URL names something by now that a statement may overwrite.

        :param tables: the names of the tables that it may write to.
        """
        for creation in list(self.unmade):
            self._look_from_elsewhere(creation, connection, statement, tables)
        self.look(None)

    def executing(
        self, connection: Connection, statement: Any, tables: frozenset[str], parameters: list[dict[str, Any]]
    ) -> list[RowClaim]:
        """Note a statement of the view's own that is about to be executed.

        :param tables: the names of the tables that it may write to.
        :param parameters: its sets of parameters, by name.
        :return: the claims to what it writes that another session of the request has made.
        :raises StaleDataError: if it may write what another has made.
        """
        claims = []
        for creation in list(self.unmade):
            creation.refuse_what_cannot_hold(connection, "What is made")
            by_loader = self._is_of_loader(connection, creation)
            depth = self._transactions[connection].depth
            met = creation.executing(connection, depth, statement, tables, parameters, by_loader=by_loader)
            self.claim(creation, met)
            if creation.claim is not None:
                creation.claim.before_statement(connection, depth)
                claims.append(creation.claim)
            elif met is not None and state_in_session(met) is None:
                creation.refuse()
        return claims

    def executed(self, rowcount: int) -> None:
        """Note what the database has answered to that."""
        for creation in self.unmade:
            creation.executed(rowcount)

    def note(self, error: BaseException) -> None:
        """Note that a try to make something may have failed."""
        for creation in self.unmade:
            creation.note(error)

    def flushed(self, session: Session) -> None:
        """Note what a session has made."""
        for creation in self.every:
            creation.flushed(session)

    def before_commit(self, connection: Connection) -> None:
        """See whether what a connection is about to commit replaces what the URL names by now."""
        if self.unmade and any(creation.to_be_asked_for(connection) for creation in self.unmade):
            for creation in list(self.unmade):
                for statement, tables in creation.to_be_asked_for(connection):
                    self._look_from_elsewhere(creation, connection, statement, tables)
            self.look(None)
            for creation in self.unmade:
                creation.refuse_to_commit_unheard(connection, is_own=self._is_of_loader(connection, creation))

    def release(self, connection: Connection, depth: int) -> None:
        """Let what was done inside a savepoint be done in what that is in."""
        for creation in self.every:
            creation.release(connection, depth)

    def commit(self, connection: Connection) -> None:
        """Note that what a connection has executed is there for others, once COMMIT is done."""
        for creation in self.every:
            creation.commit(connection)

    def undo(self, connection: Connection) -> None:
        """Note that what a connection has executed is undone, once COMMIT is done."""
        for creation in self.every:
            creation.undo(connection)
        self.roll_back(connection, 0)

    def roll_back(self, connection: Connection, depth: int) -> None:
        """Forget what was done in a transaction, or in a savepoint and what is in that."""
        for creation in self.every:
            creation.roll_back(connection, depth)
            made = creation.claim
            if made is not None and not (made.is_pending or made.has_committed):  # it is to be made again
                creation.claim, creation.refusal = None, made.refusal
                self._claims.remove(made)
                self.unmade.append(creation)

    # What is asked of them.

    def have_committed(self, row: Row) -> bool:
        """Tell whether the request may have made a row, and committed that: the rest is undone by now."""
        return any(creation.has_committed(row) for creation in self.every)

    def lock_rows(self) -> bool:
        """Lock the rows that were going to be made, waiting for who has them.

        :return: whether all are there, as far as others may be making them that cannot be waited for.
        """
        are_there = True
        for creation in self.every:
            for row in creation.rows if creation.session is not None else ():
                session: Any = creation.session
                connection = databases.connection_to_write(session, row.mapper, row.shard)
                found = databases.read(connection, row, (), "exclusive")
                are_there = are_there and (found is not None or databases.waits_for_who_makes(connection))
        return are_there

    def is_key_taken(self, error: BaseException) -> bool:
        """Tell whether an error means that another was first to make one of them."""
        return any(creation.is_key_taken(error) for creation in self.unmade)

    def look(self, session: Session | None) -> None:
        """See whether the URL names something by now, and claim that.

        :param session: the one that has sent something; ``None`` for whatever did.
        :raises StaleDataError: if another has made it.
        """
        for creation in list(self.unmade):
            is_flushing = any(transaction.flushes for transaction in self._transactions.values())
            if is_flushing or not creation.has_written:
                continue
            is_by_another = session is not None and creation.session not in (None, session)
            if is_by_another and not (creation.may_have_replaced and self._may_have_sent(session)):
                continue  # an INSERT would have told; and the loader might wait for that other session
            has_begun = creation.session is None or creation.session.in_transaction()
            target = creation.find()
            if target is None and is_by_another:
                if self._let_see_anew(creation.session):
                    target = creation.find()
                elif creation.has_replaced:
                    raise RuntimeError(_UNSEEN)
                creation.refuse_to_replace_unheard()
            self.claim(creation, target)
            if not has_begun and creation.claim is None and creation.session is not None:
                creation.session.rollback()  # what it began only to look would be in the way of others

    def look_again(self, creation: Creation) -> None:
        """See whether a try to make something that has failed has met another's row: no error tells that.

        :raises StaleDataError: if it has.
        """
        is_current = self._let_see_anew(creation.session)
        target = creation.ask()
        self.claim(creation, target)
        is_there = target is not None or not (is_current or creation.can_see_what_it_met)
        if is_there and creation.claim is None:
            creation.refuse()

    def claim(self, creation: Creation, target: object) -> None:
        """Claim what a URL names by now.

        :raises StaleDataError: if another has made it.
        """
        claim = creation.claim_on(target)
        if claim is None:
            return
        self._claims.append(claim)
        self.unmade.remove(creation)
        if not claim.has_committed:
            connection = claim.connection_of_session()
            claim.written(connection, self._transactions[connection].depth, "flush")

    # How it is seen.

    def _look_from_elsewhere(
        self, creation: Creation, connection: Connection, statement: Any, tables: frozenset[str]
    ) -> None:
        """Let a loader see what a statement may overwrite that another connection than the loader's executes.

        :param connection: the one that executes it, or commits it.
        :param statement: ``None`` for what a flush is going to send.
        :raises RuntimeError: if the transaction of the loader cannot be let see that.
        :raises StaleDataError: if another has made what the URL names.
        """
        session = creation.session
        own = None if session is None else self._begun.get(session)
        if session is None or own is None or own is connection or own.closed or not session.in_transaction():
            return
        if databases.sees_each_commit(own) or not creation.is_found_among(statement, tables):
            return
        if not self._let_see_anew(session):
            if own in self._transactions and self._transactions[own].is_undone_by_commit:
                creation.refuse_unheard()
            raise RuntimeError(_UNSEEN)
        self._find_and_claim(creation)

    def _find_and_claim(self, creation: Creation) -> None:
        target = creation.find()
        if creation.is_unheard:
            creation.refuse_unheard()
        self.claim(creation, target)

    def _is_of_loader(self, connection: Connection, creation: Creation) -> bool:
        return creation.session is not None and self._begun.get(creation.session) is connection

    def _may_have_sent(self, session: Session | None) -> bool:
        """Tell whether a session may have sent something in its transaction: not, if it was seen to begin it."""
        begun = [each for each in self._transactions.values() if each.session is session]
        return not begun or any(each.wrote_at is not None for each in begun)

    def _let_see_anew(self, session: Session | None) -> bool:
        """Let a session see what is committed by now, whatever it has read before.

        :return: whether it does: not, if something would be lost by that.
        """
        if session is None:
            return True
        has_sent = False
        for connection, transaction in list(self._transactions.items()) if session.in_transaction() else ():
            if transaction.wrote_at is not None:
                with suppress(SQLAlchemyError):
                    found = session.connection(bind_arguments={"bind": connection.engine})
                    has_sent = has_sent or found is connection
        if has_sent or session.in_nested_transaction() or session.new or session.dirty or session.deleted:
            return False
        session.rollback()
        return True


_UNSEEN = (
    "This request changes rows by another session or connection than its loader's, whose transaction cannot see "
    "whether somebody else has made what the URL names by now. Write through the session of the loader, or commit "
    "that first."
)
