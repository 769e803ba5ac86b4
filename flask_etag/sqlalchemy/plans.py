"""What a request is going to make that is to be known again: the next versions of its rows, by one commit.

Whoever finds one of these versions takes the whole request for done. So all of it is one transaction: what another
commit would write is refused. And where a row was committed, and the request has not come to its end all the same,
the version of the row is moved once more, to one that nobody has planned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextvars import Token

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.orm.attributes import instance_state

from flask_etag import log
from flask_etag.backend import SeveralCommits
from flask_etag.sqlalchemy import databases, models
from flask_etag.sqlalchemy.holds import RowClaim
from flask_etag.sqlalchemy.transactions import Transaction


class Plan:
    """The versions that one request is going to make, and its one commit.

    :param sessions: those that the request has used.
    :param transactions: what it does in those that are going on, by their connections.
    """

    def __init__(self, sessions: Sequence[Session], transactions: Mapping[Connection, Transaction]) -> None:
        self._sessions = sessions
        self._transactions = transactions
        self._rows: list[tuple[RowClaim, Sequence[str]]] = []
        self._token: Token[models.Following] | None = None
        self._has_committed = False  # something, by the session of a target
        self._misuse: SeveralCommits | None = None

    def add(self, claim: RowClaim, versions: Sequence[str]) -> None:
        """Let these versions of what is claimed follow the current one, and each other."""
        current = str(models.version_of(instance_state(claim.target)))
        following: models.Following = {**models.following.get()}
        following.update(zip([current, *versions], versions, strict=False))
        token = models.following.set(following)
        if self._token is None:
            self._token, models.is_followed = token, True
        self._rows.append((claim, versions))

    def end(self) -> None:
        """Let the versions of what is written from now on be random again."""
        if self._token is not None:
            models.following.reset(self._token)

    # That it is one commit.

    def before_commit(self, connection: Connection) -> None:
        """Refuse a commit that is not the only one, or has to be followed by another.

        :raises SeveralCommits: if it is such a one.
        """
        if self._transactions[connection].wrote_at is None:
            return
        going_on = self._transaction_of(connection)
        is_of_target = going_on is not None and self._is_of_target(going_on.session)
        is_second = is_of_target and self._has_committed
        if self._is_done or is_second or self._is_split(connection, going_on):
            self._refuse()
        self._has_committed = self._has_committed or is_of_target

    def before_statement(self, connection: Connection) -> None:
        """Refuse what a statement would write, and commit by itself, after the only commit.

        :raises SeveralCommits: if it would.
        """
        if self._is_done and databases.commits_by_itself(connection):
            self._refuse()

    def commit_failed(self) -> None:
        """Note that a COMMIT was refused: the view may try once more."""
        self._has_committed = False

    def before_answer(self) -> None:
        """Refuse what is left to be committed after the view, where that is not the only commit.

        :raises SeveralCommits: if it is not; or where the view has swallowed that before.
        """
        if self._misuse is not None:
            raise self._misuse
        unsent = [connection for connection, each in self._transactions.items() if each.wrote_at is not None]
        if any(self._is_done or self._is_split(each, self._transaction_of(each)) for each in unsent):
            self._refuse()

    @property
    def _is_done(self) -> bool:
        """Whether a row was committed, by which the request is known."""
        return any(claim.has_committed for claim, _ in self._rows)

    def _is_of_target(self, session: Session) -> bool:
        return any(claim.session is session for claim, _ in self._rows)

    def _is_split(self, connection: Connection, going_on: SessionTransaction | None) -> bool:
        """Tell whether another connection has written too, and would be sent a COMMIT of its own."""
        others = [
            each
            for each, transaction in self._transactions.items()
            if each is not connection and transaction.wrote_at is not None
        ]
        has_target = any(claim.connection is connection and claim.is_pending for claim, _ in self._rows)
        is_of_target = going_on is not None and self._is_of_target(going_on.session)
        is_shared = is_of_target and any(self._transaction_of(each) is going_on for each in others)
        return bool(others) and (has_target or is_shared)

    def _transaction_of(self, connection: Connection) -> SessionTransaction | None:
        """Return the transaction of a session in which a connection is; ``None`` where no session has it."""
        going_on = (session.get_transaction() for session in self._sessions)
        return next((each for each in going_on if each is not None and connection in each._connections), None)

    def _refuse(self) -> None:
        self._misuse = SeveralCommits(_SEVERAL_COMMITS)
        raise self._misuse

    # That it has come to its end.

    @property
    def is_known(self) -> bool:
        """Whether the request would be known by what it has committed."""
        return any(self._known_by())

    def abandon(self) -> None:
        """Let the request not be known by what it has committed: it has not come to its end.

        Its sessions are rolled back by now. What another has written since is left alone.
        """
        for claim in self._known_by():
            try:
                claim.disown(claim.connection_of_session())
                claim.session.commit()
            except SQLAlchemyError:
                log.logger.warning(
                    "A request under replay= has committed a part, and the version of that could not be moved: "
                    "sent once more, it is told that it is done.",
                    exc_info=True,
                )

    def _known_by(self) -> Iterator[RowClaim]:
        for claim, versions in self._rows:
            if claim.has_committed and claim.base.fingerprint in versions:
                yield claim


_SEVERAL_COMMITS = (
    "A view under replay= commits once, and writes nothing after that: should it be cut off between two commits, "
    "the request would be taken for done when it comes again, and only a part of it is. Write all of it in one "
    "transaction, of one database."
)
