"""A claim to the row of one object: how the row is held, and how what was stored in it is read back.

To hold a row is to lock it in the transaction that is going on, to read what tells its state, to compare that
with what is expected, and to refuse if it differs. It is done where nothing else compares: SQLAlchemy's own
``WHERE version = ?`` does, for a flush that writes what is expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

from sqlalchemy import Compiled, Connection, Table, update
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.orm import InstanceState, LoaderCallableStatus, Mapper, Session
from sqlalchemy.orm.attributes import instance_dict, instance_state, set_committed_value
from sqlalchemy.orm.exc import StaleDataError

from flask_etag import log
from flask_etag.backend import Terms
from flask_etag.sqlalchemy import databases, statements
from flask_etag.sqlalchemy.claims import ABSENT, UNREAD, Claim, Known
from flask_etag.sqlalchemy.databases import OWN, Cause, Row
from flask_etag.sqlalchemy.models import (
    Versioned,
    columns_of,
    covered_by,
    expire_parts,
    expire_relationships,
    has_keys_as_sent,
    has_loaded_version,
    is_just,
    is_newer,
    is_stored_as_sent,
    is_versioned,
    key_of,
    let_loaded_version_be,
    loaded_names,
    loaded_version_of,
    names_of_columns,
    names_of_other_rows,
    next_version,
    planned_after,
    put_version_back,
    random_version,
    says_its_etag,
    state_in_session,
    tables_covered_by,
    version_key,
    version_of,
)
from flask_etag.sqlalchemy.unsent import leaving_unsent
from flask_etag.sqlalchemy.unversioned import changes_what_counts, leaves_version, names_unsent

_NOT_JUDGED, _NOT_READ = Known(ABSENT), Known(UNREAD)

Writer = Literal["flush", "statement"]
"""What has written a row: the ORM, which knows what it has sent; or a statement of the view's own."""


WAITS_FOR_ITSELF = (
    "This request {} on one connection, and {} on another, which would wait for the first without end. Do it "
    "through the session that loaded it, or commit that session first."
)


_REPLACED = (
    "After this write the loader finds another {} than the one that the request was judged by, and that was left "
    "as it was: two requests could do so at once. Let the loader return a row that stays, and let that cover the "
    "others, by flask_etag.sqlalchemy.covers(); or change the row that was judged as well."
)


_DEPENDS = (
    "The ETag of {} depends on {} can change without it, and nothing would guard them. Leave them out of what is "
    "hashed; or give the model a version, and let that cover them: flask_etag.sqlalchemy.covers()."
)


_MADE = (
    "The {} of this {} was changed before the request was judged by its ETag, and is not sent yet: no row has "
    "that state, so that an old ETag could pass. Let the loader return what is there, and change it in the view; "
    "or give the model a version."
)


class RowClaim(Claim):
    """What a request may replace of the row of one object.

    :param terms: what the write has to hold to.
    :param target: the object.
    :param session: the session that it is in; later, the one that has written it last.
    :param loaded: what a view that calls this one has kept of its columns, before that could change one in place.
    :ivar loaded_by: the session that it was in at first.
    :ivar row: the row; by its new name, once the request has changed its key.
    """

    refusal: Cause | None = None
    """Why the last try to write the row was refused."""

    is_doubtful = False
    """Whether a try to write the row failed, and it is still to be seen whether another writer is the reason."""

    is_overtaken = False
    """Whether a statement has found the row in another state than expected: whoever has left it so is done."""

    lost: BaseException | None = None
    """What a commit has ended with, since the server was lost: it was not done, or nobody knows whether it was."""

    misuse: RuntimeError | None = None
    """Why the row cannot be guarded at all."""

    flushing: Connection | None = None
    """The connection of the flush that is about to write the row."""

    unread_after: Writer | None = None
    """What has written the row since it was last read back."""

    is_judged = True
    """Whether it was judged, or is not to be; what is flushed until then is none of the view's."""

    company: Writer | None = None
    """What has written, or may have, another row of the same table, which the URL may name by now."""

    is_tag_known = True
    """Whether the URL still names the row, and the answer cannot show what another has overwritten."""

    _checked: Connection | None = None  # the last connection that was found to hold statements together
    _latest: object = ABSENT  # the last version that the row is known to have had
    _is_ours_alone = True  # whether nobody else can have written the row when it is read back
    _flush_moves_none = False  # whether what is flushed is of another class, which has no version
    _is_to_be_held = False  # whether a flush has to hold the row, should it write it after all
    _is_replaced = False  # whether the last flush has put another object into the place of one that it deletes
    _read_beside: frozenset[str] = frozenset()  # the tables that its hash has read, besides its own
    _is_made_again = False  # whether the last flush has inserted the row, which the request had deleted
    _columns_before: dict[str, Any] | None = (
        None  # the columns of the base, once a statement may have changed some of them
    )

    def __init__(
        self, terms: Terms, target: object, session: Session, loaded: dict[str, Any] | None = None
    ) -> None:
        super().__init__(_NOT_JUDGED)
        state = instance_state(target)
        mapper = state.mapper
        self.terms = terms
        self.target = target
        self.session = self.loaded_by = session
        self.row = Row(mapper, key_of(state), state.identity_token)
        self.is_versioned = is_versioned(mapper)
        self._row_of_base: Row | None = None  # where the transaction that is going on has changed its key
        self._row_committing: Row | None = None  # the same, of the one that COMMIT was sent for last
        self._loaded: dict[str, Any] | None = None
        if terms.is_reported and state.expired_attributes:
            pass  # a read's view has let go of it
        elif not self.is_versioned:
            with session.no_autoflush:  # what is not sent yet is to be seen as such: refuse_unsent_state()
                self._loaded = columns_of(state, loaded)  # before a dump can change one in place
        elif version_key(mapper) not in instance_dict(target) and state.persistent:
            version_of(state)  # of the same time as what it is judged by

    def judged(self, etag: str | None) -> None:
        """Note that the target was judged by what is loaded of it, and the tag of that."""
        state = instance_state(self.target)
        if not self.is_versioned:
            fingerprint: object = columns_of(state, self._loaded)
        else:  # as it is stored: a hook of the application's may have set the next, and not sent it yet
            fingerprint = state.committed_state.get(version_key(state.mapper)) or version_of(state)
        self.is_judged = True
        self.rebase(Known(fingerprint, None if state.modified and self._is_tag_of_unsent(state) else etag))

    def _is_tag_of_unsent(self, state: InstanceState[Any]) -> bool:
        """Tell whether the tag is of what a hook of the application's has changed, and no row has yet."""
        name = self.terms.column
        if name is None and self.is_versioned and not self.terms.depends_on_more:
            name = version_key(state.mapper)
        return changes_what_counts(state) if name is None else name in state.committed_state

    def note_another(self) -> None:
        """Note that another may have written the row since it was loaded; the answer may show it as it was."""
        self.is_tag_known = False

    def leave_unread(self) -> None:
        """Take whatever the row has for expected, and do not look at it before something is written."""
        self.is_judged = True
        self.rebase(Known(UNREAD))

    def rebase(self, base: Known) -> None:
        """Let a state be the base: the request was judged by it, or takes whatever is there for expected."""
        super().rebase(base)
        self._note_version()

    def _note_version(self) -> None:
        fingerprint = self.base.fingerprint
        if self.is_versioned and fingerprint is not ABSENT and fingerprint is not UNREAD:
            self._latest = fingerprint

    @property
    def etag(self) -> str | None:
        """The tag of what the request has left of the row; ``None`` where it has none, or none is known."""
        return self.expected.etag if self.is_tag_known else None

    @property
    def columns(self) -> dict[str, Any] | None:
        """The columns that a row without a version is expected to have; ``None`` where that is not known."""
        fingerprint = self.expected.fingerprint
        return fingerprint if isinstance(fingerprint, dict) else self._loaded

    @property
    def is_held_before_view(self) -> bool:
        """Whether to keep others from the row while the view runs: a WHERE would not tell of them, or may not."""
        return not self.terms.is_reported and (self.terms.takes_any_state or not self.is_versioned)

    @property
    def may_be_refused(self) -> bool:
        """Whether a try to write it has failed, and nothing of it is written that counts."""
        if not (self.is_doubtful or self.refusal or self.misuse) or self.terms.is_reported:
            return False
        return self.expected is self.base or (self.refusal is not None and self.unread_after is not None)

    @property
    def version_to_replace(self) -> object | None:
        """The version that the row has to have; ``None`` where it is held, or none is known."""
        is_any = self.connection is not None or (self.terms.is_reported and self.expected.fingerprint is UNREAD)
        return None if is_any else self.expected.fingerprint

    @property
    def is_to_be_read_at_once(self) -> bool:
        """Whether a statement is committed as soon as it is executed, so that no later moment can see to it."""
        return not self._is_ours_alone

    def is_of(self, mapper: Mapper[Any], state: InstanceState[Any]) -> bool:
        """Tell whether an object is one of the row."""
        if state.obj() is self.target:
            return True
        return state.key is not None and self.row.is_named_by(mapper, state.key[1])

    def is_elsewhere(self, connection: Connection) -> bool:
        """Tell whether a connection is to another shard than the row's, where its key would be another row's."""
        if self.row.shard is None:
            return False
        own = self.session.get_bind(self.row.mapper, shard_id=self.row.shard)
        return connection.engine is not own.engine

    def note_company(self, statement: Any, tables: frozenset[str]) -> None:
        """Note a statement that may write another row of the same table.

        :param tables: the names of the tables that it writes to.
        """
        if statements.may_be_about(statement, tables, self.row.tables):
            self.company = self.company or "statement"

    def note_read(self, compiled: Compiled) -> None:
        """Note what a hash reads, while it is made to judge by it, besides the row."""
        self._read_beside |= statements.tables_read_by(compiled) - self.row.tables

    def refuse_to_be_replaced(self) -> None:
        """See whether the URL names another row, now that the request has written one, and not what was judged.

        :raises RuntimeError: if it does, and nothing was done to the row that was judged: then nothing would tell
            another request that was judged by it.
        """
        company, self.company = self.company, None
        is_done = self.is_pending or self.has_committed
        if company is None or self.terms.is_reported or (is_done and company == "statement"):
            return  # a statement that has written the row may have written no other
        state = self._find()
        if state is None or self.row.is_named_by(state.mapper, key_of(state)):
            return
        if not is_done:
            raise RuntimeError(_REPLACED.format(self.row.mapper.class_.__name__))
        self.note_another()

    def _find(self) -> InstanceState[Any] | None:
        """Ask the loader what the URL names by now; ``None`` where it names no object, or that cannot be asked."""
        found = None
        with databases.as_far_as_it_can_be_asked(), leaving_unsent(self.loaded_by):
            found = self.terms.find()
        return state_in_session(found)

    @property
    def is_deleted_for_good(self) -> bool:
        """Whether the request has deleted the row, and committed that."""
        return self.has_committed and self.base.fingerprint is ABSENT and not self.terms.is_reported

    def finds_any(self) -> bool:
        """Tell whether the URL names any object by now."""
        return self._find() is not None

    def may_be_written_by(self, compiled: Compiled, statement: Any, tables: frozenset[str]) -> bool:
        """Tell whether a statement may write what counts of the row.

        One that only makes rows makes others, where the row is there.

        :param statement: what is executed.
        :param tables: the names of the tables that it writes to.
        """
        if not (self.is_judged and (tables is statements.ANY_TABLE or tables & self.row.tables)):
            return False
        if leaves_version(self.row.mapper, compiled):
            return False
        return self.expected.fingerprint is ABSENT or not statements.is_plain_insert(statement)

    def is_written_by_flush(
        self, connection: Connection, statement: Any, tables: frozenset[str], parameters: Any
    ) -> bool:
        """Tell whether a statement of a flush writes the row, and not only others of its table.

        :param tables: the name of the table that it writes to.
        :param parameters: its sets of parameters, by name.
        """
        if self.flushing is not connection:
            return False
        if tables.isdisjoint(self.row.tables) and tables is not statements.ANY_TABLE:
            return False
        row = self.row
        return row.is_among(statement.table, parameters) or not has_keys_as_sent(row.mapper, row.key)

    def is_in_flush_by(self, begun_on: Connection | None, connection: Connection) -> bool:
        """Tell whether the session's flush is going on, and may still come to the row: its links go first.

        :param begun_on: the connection on which the session has begun last.
        :param connection: the one that is asked about.
        """
        session = self.session
        if begun_on is not connection or not session._flushing:
            return False
        return self.target in session.deleted or self.target in session.dirty

    # What happens to the row.

    def note(self, error: BaseException) -> None:
        """Note that a try to write the row has failed."""
        self.refusal = databases.cause_of(error) or self.refusal
        self.is_doubtful = True

    def written(self, connection: Connection, depth: int, by: Writer) -> None:
        """Note that the row may have been written, in whatever state that has left it."""
        self.push(connection, depth, _NOT_READ)
        if by == "flush" and self._flush_moves_none:
            by, self._flush_moves_none = "statement", False
        if self.unread_after != "statement":
            self.unread_after = by

    def flushed(self, depth: int) -> None:
        """Note that a flush that was to write the row is done."""
        self.flushing = None
        if self.is_pending:
            self.refusal, self.is_doubtful, self.is_overtaken = None, False, False
        session = self.session
        is_deleted = bool(session._deleted) and self.target in session.deleted  # which makes a set of them
        if is_deleted and self.connection is not None:
            self.push(self.connection, depth, Known(ABSENT))

    def roll_back(self, connection: object, depth: int = 0) -> None:
        """Drop what a transaction, or a savepoint and those inside it, has made of the row, if that undoes it."""
        if not self._is_ours_alone and self.connection is connection:
            self.commit(connection)
        else:
            super().roll_back(connection, depth)
        if self.expected.fingerprint is not UNREAD:
            self.unread_after = None
        if self._row_of_base is not None and not self.is_pending:
            self.row, self._row_of_base = self._row_of_base, None

    @property
    def is_done_in_part(self) -> bool:
        """Whether something of it is done for good, whatever becomes of the rest."""
        return self.has_committed or (self.is_pending and not self._is_ours_alone)

    def commit(self, connection: object) -> None:
        """Let what a transaction has made of the row be the base; COMMIT is about to be sent."""
        is_of_it = self.connection is connection
        if is_of_it and self.base.fingerprint is not UNREAD:  # of a COMMIT, nobody knows even now
            self.lost = None
        super().commit(connection)
        if is_of_it:
            self._columns_before = None
            self._row_committing, self._row_of_base = self._row_of_base, None
            self._note_version()

    def lose_sight(self) -> None:
        """Give up what is known of the row; what was done for good stays so."""
        self.has_committed = self.is_done_in_part
        super().lose_sight()
        self.note_another()

    def commit_failed(self, connection: object) -> bool:
        """Go back to the base of before a COMMIT that has failed; tell whether that was to change the row."""
        was_pending = super().commit_failed(connection)
        if was_pending and self._row_committing is not None:
            self.row = self._row_committing
        return was_pending

    @property
    def is_in_another_s(self) -> bool:
        """Whether the transaction may be another's, so that the session commits no more than a savepoint in it.

        The session was given a connection, and no engine; or has come to one where a transaction was going on.
        """
        shard = {} if self.row.shard is None else {"shard_id": self.row.shard}
        if isinstance(self.session.get_bind(self.row.mapper, **shard), Connection):
            return True
        is_nested = self.connection is not None and self.connection.in_nested_transaction()
        return not self.session.in_transaction() or (is_nested and not self.session.in_nested_transaction())

    # How it is held.

    def connection_of_session(self) -> Connection:
        """Return the connection by which the session writes the row."""
        return databases.connection_to_write(self.session, self.row.mapper, self.row.shard)

    def hold(
        self, connection: Connection, depth: int, lock: databases.Lock = "exclusive", *, whole: bool = False
    ) -> None:
        """Lock the row, in the transaction that is going on, and refuse any other state than the one expected.

        :param depth: how many savepoints are open.
        :param lock: a shared one is for what is not going to be written; no entry is made for it.
        :param whole: whether to keep all that the row has, since a statement may change any of it.
        :raises StaleDataError: if the row is in another state.
        """
        names = names_of_columns(self.row.mapper) if whole else self._names_of_fingerprint()
        try:
            found = databases.read(connection, self.row, names, lock)
        except DBAPIError as error:
            self.note(error)
            raise
        if not self._is_met_by(found):
            self.is_overtaken = True
            self.refuse()
        if whole:
            self._columns_before = found
        if lock == "exclusive":
            self.push(connection, depth, self.expected)

    def refuse(self) -> None:
        """Refuse the write.

        :raises StaleDataError: always.
        """
        self.refusal = "conflict"
        raise StaleDataError("The row has been changed since the request was judged.")

    def refuse_what_cannot_hold(self, connection: Connection) -> None:
        """Refuse a connection on which nothing holds a write's statements together, or whose locks are not known.

        Not where the claim is only reported: that is noted then, and what such a connection has committed is the
        base.

        :raises RuntimeError: if it is one.
        """
        if connection is self._checked:
            return
        if self.terms.is_reported:  # then nothing is refused; but what others leave there is not told apart
            is_ours_alone = not databases.commits_by_itself(connection)
            if is_ours_alone and not self._is_ours_alone and self.connection is connection:
                self.commit(connection)  # only a savepoint has begun a transaction: what was before is done
            self._is_ours_alone = is_ours_alone
            return
        try:
            databases.refuse_what_cannot_hold(connection, self.row.mapper, needs_lock=not self.is_versioned)
        except RuntimeError as error:
            self.misuse = error
            raise
        self._checked = connection

    def is_held_together_by(self, connection: Connection) -> bool:
        """Tell whether what a connection executes is a transaction; for the row of a model with a version."""
        if not databases.commits_by_itself(connection):
            self._checked = connection
        return connection is self._checked

    def refuse_to_wait(self, connection: Connection, *, is_row: bool, does: str = "writes") -> None:
        """Refuse a statement that would wait for what the same request holds: neither would ever go on.

        :param is_row: whether it may write the row, or lock it.
        :param does: what it does, in words.
        :raises RuntimeError: if it would.
        """
        holding: Any = self.connection
        if holding is None or holding is connection:
            return
        if databases.would_wait(connection, holding, is_row=is_row):
            what = f"holds a {self.row.mapper.class_.__name__}"
            raise RuntimeError(WAITS_FOR_ITSELF.format(what, does))

    def refuse_to_wait_for_loader(self, connection: Connection, own: Connection | None) -> None:
        """Refuse a write by another connection than the loader's, where that has locked what it has read.

        :param own: the connection of the loader's session, if that was seen to begin.
        :raises RuntimeError: if it would wait for that.
        """
        if self.connection is not None or own is None or own is connection or own.closed:
            return
        if not databases.locks_what_it_reads(own):
            return
        what = f"has read a {self.row.mapper.class_.__name__} at SERIALIZABLE"
        raise RuntimeError(WAITS_FOR_ITSELF.format(what, "writes it"))

    def is_checked_by(self, connection: Connection, statement: Any, parameters: Any) -> bool:
        """Tell whether what another connection writes names the row by a foreign key, and waits to check that.

        :param parameters: its sets of parameters, by name.
        """
        if self.connection is None or self.connection is connection or not databases.checks_by_lock(connection):
            return False
        table = getattr(statement, "table", None)
        return isinstance(table, Table) and self.row.is_referred_to(
            table, statements.parameters_of_rows(statement, parameters)
        )

    def refuse_to_wait_for_read(self, connection: Connection, compiled: Compiled) -> None:
        """Refuse a SELECT that would lock the row by another connection than the one that holds it.

        :raises RuntimeError: if it would.
        """
        if self.connection is None or self.connection is connection:
            return
        if not self.row.tables.isdisjoint(databases.tables_locked_by(connection, compiled)):
            self.refuse_to_wait(connection, is_row=True, does="reads it under a lock")

    def refuse_unsent_state(self) -> None:
        """Refuse to judge by what the loader, or who was there before it, has made of the object and not sent yet.

        :raises RuntimeError: if the tag depends on that, and no version tells the states apart.
        """
        state = instance_state(self.target)
        terms = self.terms
        is_judged_by_state = not (self.is_versioned or terms.takes_any_state or terms.is_reported)
        unsent = names_unsent(state) if is_judged_by_state and state.modified else set[str]()
        if not unsent:
            return
        made, loaded = dict(state.dict), columns_of(state)
        with self.session.no_autoflush:
            etag = terms.etag_of(self.target)
            state.dict.update((name, loaded[name]) for name in unsent)
            try:
                is_known = all(loaded[name] is not LoaderCallableStatus.NO_VALUE for name in unsent)
                is_same = is_known and terms.etag_of(self.target) == etag
            finally:
                state.dict.update((name, made[name]) for name in unsent)
        if not is_same:
            raise RuntimeError(_MADE.format(", ".join(sorted(unsent)), state.class_.__name__))

    def refuse_hash_of_other_rows(self) -> None:
        """Refuse a tag that depends on other rows than the one that is guarded.

        :raises TypeError: if it does.
        """
        if not self.terms.depends_on_more or self.terms.column is not None:
            return
        state = instance_state(self.target)
        mapper = state.mapper
        others = names_of_other_rows(mapper).union(mapper.relationships.keys()) - covered_by(mapper)
        if others:
            self.session.flush()  # what is not sent yet of these would be lost
            self.session.expire(self.target, others)
            (self.terms.state_of or self.terms.etag_of)(self.target)
        read = sorted(name for name in others if name in state.dict)
        if read:
            raise TypeError(_DEPENDS.format(state.class_.__name__, f"its {', '.join(read)}, whose rows"))
        asked = sorted(self._read_beside - tables_covered_by(mapper))
        if asked:
            raise TypeError(_DEPENDS.format(state.class_.__name__, f"rows of {', '.join(asked)}, which"))

    def before_flush_writes(
        self,
        connection: Connection,
        depth: int,
        target: object,
        replaced: InstanceState[Any] | None,
        session: Session | None,
    ) -> None:
        """See to it that a flush replaces what is expected.

        ========================================  =================================================================
        the row is not to be there: an INSERT     nothing: its key compares
        not held, WHERE names what is expected    nothing: SQLAlchemy compares
        not held, and there is nothing to write   hold it before the statement, should there be one after all; not
                                                  where it is only reported: who writes nothing locks nothing
        not held, and only reported               take what it has for what was expected
        not held, WHERE names another version     hold it; if it is as expected, let WHERE name that
        held, WHERE names another version         let WHERE name the one that the request itself has left
        ========================================  =================================================================

        :param target: the object that it writes; the last one stands for the row.
        :param replaced: the object whose loaded version SQLAlchemy is going to name, if it names any.
        :param session: the one that the target is in.
        :raises StaleDataError: if the row is in another state.
        """
        if not self.is_judged:
            return
        self.refuse_what_cannot_hold(connection)
        self.refuse_to_wait(connection, is_row=True)
        self.target = target
        self.session = session or self.session
        self._is_replaced = replaced is not None and replaced.obj() is not target
        self._is_made_again = replaced is None  # any INSERT; only looked at where there was a version before
        is_constrained = replaced is None and self.expected.fingerprint is ABSENT  # an INSERT: its key is compared
        if self.connection is None and not is_constrained:
            if not self.terms.is_reported and self._is_compared_by(replaced):
                pass
            elif replaced is not None and not _is_changed(replaced):
                self._is_to_be_held = True  # should a listener change it after this
            elif self.terms.is_reported:
                self._adopt(connection, depth, replaced)
            else:
                self.hold(connection, depth)
                self._let_compare(replaced)
        if self.is_versioned and not is_versioned(instance_state(target).mapper):
            self._keep_image(connection)  # its class knows nothing of the version: the flush moves none
            self._flush_moves_none = True
        elif self.connection is not None and replaced is not None and self.is_versioned:
            self._let_compare_own(replaced)
        self.flushing = connection

    def before_flush_statement(self, connection: Connection, depth: int) -> None:
        """See to it that a statement of a flush finds what is expected, if there was nothing to write before.

        :raises StaleDataError: if the row is in another state.
        """
        if self._is_to_be_held and self.connection is None and not self.terms.is_reported:
            self.hold(connection, depth)
        self._is_to_be_held = False

    def before_statement(self, connection: Connection, depth: int) -> None:
        """See to it that a statement that may write the row finds it as expected; keep what it has by then.

        :raises StaleDataError: if the row is in another state.
        """
        self.refuse_what_cannot_hold(connection)
        if self.connection is None:
            if self.terms.is_reported:
                self._adopt(connection, depth, None)
            else:
                self.hold(connection, depth, whole=True)
        if self.is_versioned or self.terms.column is not None:
            self._keep_image(connection)

    def _keep_image(self, connection: Connection) -> None:
        """Keep what the row has before something changes it that may not move its version."""
        if self._columns_before is None and not self.is_pending:
            self._columns_before = databases.read(connection, self.row, names_of_columns(self.row.mapper))

    def _is_compared_by(self, replaced: InstanceState[Any] | None) -> bool:
        """Tell whether SQLAlchemy's own WHERE names the version that is expected.

        It does not where the view has let go of what was judged, by a commit, a rollback or a refresh, and has
        loaded it anew, or writes another object of the same row: that may be another writer's state. Where none is
        loaded, what is expected is what it is to name.
        """
        if replaced is None or not (self.is_versioned and is_versioned(replaced.mapper)):
            return False
        if not has_loaded_version(replaced):
            self._let_compare(replaced)
        return loaded_version_of(replaced) == self.expected.fingerprint

    def _let_compare(self, replaced: InstanceState[Any] | None) -> None:
        """Let SQLAlchemy's own WHERE name what the row has: the request has written it by another object."""
        fingerprint = self.expected.fingerprint
        if replaced is None or not (self.is_versioned and is_versioned(replaced.mapper)):
            return
        if fingerprint is not ABSENT and fingerprint is not UNREAD:
            let_loaded_version_be(replaced, fingerprint)

    def _let_compare_own(self, replaced: InstanceState[Any]) -> None:
        """Let SQLAlchemy's own WHERE name what the request has made of the row, which is held, by a statement."""
        known = self.expected.fingerprint
        if known is UNREAD and self.unread_after == "flush":
            return  # the object knows it
        name = version_key(self.row.mapper)
        if known is UNREAD:
            connection: Any = self.connection
            row = Row(replaced.mapper, key_of(replaced))  # by a new name, if its key was changed
            known = (databases.read_held(connection, row, (name,)) or {name: ABSENT})[name]
        if known is not ABSENT and is_versioned(replaced.mapper) and loaded_version_of(replaced) != known:
            let_loaded_version_be(replaced, known)

    def _adopt(self, connection: Connection, depth: int, replaced: InstanceState[Any] | None) -> None:
        """Take whatever the row has for what was expected: the request names no state, and is let pass."""
        if not self.is_versioned:
            return
        name = version_key(self.row.mapper)
        found = databases.read(connection, self.row, names_of_columns(self.row.mapper), "exclusive")
        if found is None:
            return
        if replaced is not None:
            let_loaded_version_be(replaced, found[name])
        self._columns_before = found
        if found[name] != self.base.fingerprint:
            self.note_another()
        self.rebase(Known(found[name]))
        self.push(connection, depth, self.base)

    def _names_of_fingerprint(self) -> Sequence[str]:
        """Name the attributes that tell the states of the row apart."""
        if self.is_versioned:
            return (version_key(self.row.mapper),)
        fingerprint = self.expected.fingerprint
        return tuple(fingerprint) if isinstance(fingerprint, dict) else names_of_columns(self.row.mapper)

    def _is_met_by(self, found: dict[str, Any] | None) -> bool:
        """Tell whether the row is in the state that is expected."""
        fingerprint = self.expected.fingerprint
        if found is None or fingerprint is ABSENT:
            return found is None and fingerprint is ABSENT
        if self.is_versioned:
            fingerprint = {version_key(self.row.mapper): fingerprint}
        return isinstance(fingerprint, dict) and databases.is_same(self.row.mapper, fingerprint, found)

    # How what was stored is read back.

    def read_back(self, depth: int) -> None:
        """Learn what the database has made of the row, in memory too, and take the tag, while the row is held.

        :raises StaleDataError: if the write has left what tells the states apart as it was.
        """
        state = instance_state(self.target)
        is_in_session = state.session is self.session and state.key is not None and not state._deleted
        is_in_session = is_in_session and is_versioned(state.mapper) == self.is_versioned
        connection: Any = self.connection
        may_be_hidden = self._is_made_again or (self.unread_after == "statement" and self.terms.is_reported)
        is_hidden = may_be_hidden and databases.is_seen_twice(connection, self.row)
        if self.expected.fingerprint is ABSENT or not is_in_session or is_hidden:
            self.read_back_by_hand(depth)
            return
        try:
            known = self._read_back_object(state)
        except InvalidRequestError as error:
            if not databases.is_gone(error):  # the session can load nothing, inside a transaction that has ended
                self.read_back_by_hand(depth)
                return
            known = Known(ABSENT)  # a statement that the session knows nothing of has deleted it
        self.push(self.connection, depth, known)
        self.unread_after = None  # only now: what is refused is refused again, should the view try to commit again

    def _read_back_object(self, state: InstanceState[Any]) -> Known:
        if key_of(state) != self.row.key or state.mapper is not self.row.mapper:
            self._row_of_base = self._row_of_base or self.row
            self.row, self.is_tag_known = Row(state.mapper, key_of(state), state.identity_token), False
        known = self._version_stored(state) if self.is_versioned else self._columns_stored(state)
        if known is self.base or known.fingerprint is ABSENT:
            return known
        if self.is_versioned and (self.terms.depends_on_more or says_its_etag(state.mapper)):
            self._refresh(state)
            expire_parts(self.session, self.target)
        if self.terms.shows_more:
            expire_relationships(self.session, self.target)
        etag = self.terms.etag_of(self.target)
        has_moved = self._has_moved(known.fingerprint, etag)
        if has_moved and self.is_tag_known and self._is_ours_alone and not self._may_show_old_parts():
            known.etag = etag
        return known

    def _may_show_old_parts(self) -> bool:
        """Tell whether what is hashed beside the row may be of an older snapshot than the row, which is held.

        The row of a model of several tables is not held where it is only reported: what one of them has is beside.
        """
        may_be_older = self.terms.is_reported or (self.is_versioned and self.has_committed)
        has_more = self.terms.depends_on_more if self.is_versioned else len(self.row.tables) > 1
        if not (may_be_older and has_more):
            return False
        connection: Any = self.connection
        return not databases.sees_what_is_committed(connection)

    def take_tag_if_it_is_as_left(self) -> None:
        """Take the tag of what the object has by now, if the request has left the row so, which is not held."""
        base, state = self.base, instance_state(self.target)
        if base.fingerprint is UNREAD or (self.terms.depends_on_more and self.terms.column is None):
            return
        if self.is_versioned:
            is_as_left = version_of(state) == base.fingerprint
        else:
            columns: Any = base.fingerprint
            is_as_left = databases.is_same(self.row.mapper, columns, columns_of(state))
        if is_as_left:
            base.etag = self.terms.etag_of(self.target)

    def read_back_by_hand(self, depth: int) -> None:
        """Learn what the database has made of the row without the object; its tag is not known then.

        :raises StaleDataError: as :meth:`read_back`.
        """
        connection: Any = self.connection
        if self.expected.fingerprint is ABSENT:
            self.unread_after = None
            return
        if self.is_versioned and self.unread_after == "statement":
            known = self._version_after_statement()
        else:
            found = databases.read(connection, self.row, self._names_of_fingerprint())
            version = found and found[version_key(self.row.mapper)] if self.is_versioned else found
            if found is not None and self.is_versioned and self._is_behind(version):
                version = self._set_version(next_version(self.row.mapper, self._latest))
            is_as_before = not self.is_versioned and self._is_as_judged(found)
            known = self.base if is_as_before else Known(ABSENT if found is None else version)
        if known is not self.base and known.fingerprint is not ABSENT:
            self._has_moved(known.fingerprint, None)
        self.push(connection, depth, known)
        self.unread_after = None

    def read_back_at_commit(self, *, is_own: bool) -> None:
        """Learn what COMMIT is going to leave, when no session can load anything any more.

        Its tag is known where it is of the version alone, and the object has all the rest of what that takes.

        :param is_own: whether it is the connection of the object's session that commits: otherwise the object, and
            what the answer shows of it, may be older than the tag.
        :raises StaleDataError: as :meth:`read_back`.
        """
        self.read_back_by_hand(0)
        known, state = self.expected, instance_state(self.target)
        is_of_version = self.is_versioned and not (self.terms.depends_on_more or says_its_etag(state.mapper))
        if not is_of_version or known is self.base or known.fingerprint is ABSENT:
            return
        if is_own and state.session is self.session and self.is_tag_known and self._is_ours_alone:
            self._put_into_memory(known.fingerprint)
            with suppress(InvalidRequestError):
                known.etag = self.terms.etag_of(self.target)

    def _is_as_judged(self, columns: dict[str, Any] | None) -> bool:
        """Tell whether a row without a version, by its columns as they are now, is as it was judged."""
        base, mapper = self.base.fingerprint, self.row.mapper
        if columns is None or not isinstance(base, dict) or base.keys() != columns.keys():
            return False
        if not databases.is_same(mapper, base, columns):
            return False
        if self._columns_before is None:
            return True
        connection: Any = self.connection  # a statement may have changed what was never loaded
        found = databases.read_held(connection, self.row, names_of_columns(mapper))
        return found is not None and databases.is_same(mapper, self._columns_before, found)

    def _columns_stored(self, state: InstanceState[Any]) -> Known:
        """Read the columns of a row that has no version: what was sent may be stored otherwise."""
        mapper = self.row.mapper
        sent = columns_of(state) if self.terms.is_reported and self.unread_after == "flush" else None
        if not self._has_what_is_stored(state):
            self._refresh(state)
        columns = columns_of(state)
        if sent is not None and not databases.is_same(mapper, sent, columns):
            self.note_another()  # between the load and the write; the answer may show what was there before
        base = self.base.fingerprint
        if not isinstance(base, dict):
            return Known(columns)
        columns = {name: value for name, value in columns.items() if name in base}
        return self.base if self._is_as_judged(columns) else Known(columns)

    def _has_what_is_stored(self, state: InstanceState[Any]) -> bool:
        """Tell whether an object has its row to the letter: to read it takes a third of what loading it does.

        Not where it is likely to have not: it was sent what may be stored otherwise, or a trigger makes the tag.
        """
        names, base = self._names_to_refresh(state), self.base.fingerprint
        if self.unread_after == "statement" or not names or not isinstance(base, dict):
            return False
        for name in names:
            if name not in state.dict or name not in base:
                return False
            value, [column, *_] = state.dict[name], state.mapper.column_attrs[name].columns
            is_likely = name != self.terms.column if value is base[name] else is_stored_as_sent(column, value)
            if not is_likely:
                return False
        connection: Any = self.connection
        found = databases.read(connection, self.row, names)
        return found is not None and all(is_just(state.dict[name], value) for name, value in found.items())

    def _version_stored(self, state: InstanceState[Any]) -> Known:
        """Return the version that the row has by now, in memory too: what was sent may be stored otherwise."""
        if self.unread_after == "statement":
            return self._version_after_statement()
        name = version_key(state.mapper)
        column: Any = state.mapper.version_id_col
        loaded = instance_dict(self.target)
        version = state.committed_state.get(name) or loaded.get(name)  # not one that is set and not sent yet
        if version is None or not is_stored_as_sent(column, version):
            connection: Any = self.connection
            found = databases.read(connection, self.row, (name,))
            if found is None:
                return Known(ABSENT)
            version = found[name]
            set_committed_value(self.target, name, version)
        if self._is_behind(version):
            version = self._set_version(next_version(state.mapper, self._latest))
        return Known(version)

    def _is_behind(self, version: object) -> bool:
        """Tell whether a row that was deleted and made again has begun to count anew, or departs from the plan."""
        if not self._is_made_again or self._latest is ABSENT:
            return False
        return not is_newer(version, self._latest) or planned_after(self._latest) not in (None, version)

    def _set_version(self, version: object) -> object:
        """Give the row a version, in memory too; return it as it is stored.

        :param version: ``None`` where the database makes one by any UPDATE.
        """
        connection: Any = self.connection
        column: Any = self.row.mapper.version_id_col
        where = self.row.where()
        if self._is_made_again and databases.is_seen_twice(connection, self.row):
            where.append(databases.is_made_here())
        move = update(column.table).values({column: column if version is None else version}).where(*where)
        connection.execute(move, execution_options={OWN: True})
        name = version_key(self.row.mapper)
        if version is None or not is_stored_as_sent(column, version):
            version = (databases.read(connection, self.row, (name,)) or {}).get(name)
        self._put_into_memory(version)
        return version

    def disown(self, connection: Connection) -> None:
        """Give the row a version that nobody has planned, if it still is as the request has committed it."""
        self.company = None  # what the URL names does not matter any more
        column: Any = self.row.mapper.version_id_col
        is_own = column == self.base.fingerprint
        move = update(column.table).values({column: random_version()}).where(*self.row.where(), is_own)
        connection.execute(move, execution_options={OWN: True})

    def _put_into_memory(self, version: object) -> None:
        """Let the object have a version, unless the view has given it another, which is not sent yet."""
        state = instance_state(self.target)
        name = version_key(self.row.mapper)
        is_known = state.persistent and is_versioned(state.mapper)
        if is_known and name not in state.committed_state:
            set_committed_value(self.target, name, version)

    def _version_after_statement(self) -> Known:
        """Move the version of a row that a statement has changed, if that has not done so; tell what it is now."""
        connection: Any = self.connection
        mapper, name = self.row.mapper, version_key(self.row.mapper)
        state = instance_state(self.target)
        found = databases.read_held(connection, self.row, names_of_columns(mapper))
        if found is None:
            return Known(ABSENT)
        if self._columns_before is not None and databases.is_same(mapper, self._columns_before, found):
            return self.base
        version = found[name]
        is_given = issubclass(mapper.class_, Versioned) and version != state.dict.get(name)
        is_behind = self._latest is not ABSENT and not is_newer(version, self._latest)
        if is_behind or is_given:  # of Versioned, no statement gives the version
            version = self._set_version(next_version(mapper, self._latest if is_behind else version))
        self._put_into_memory(version)
        return Known(version)

    def _has_moved(self, fingerprint: object, etag: str | None) -> bool:
        """Tell whether a write has moved on what tells the states apart; refuse it, if it has not.

        :raises StaleDataError: if it has not, and is not let pass only to be reported.
        """
        if self.base.fingerprint is ABSENT or self.base.fingerprint is UNREAD:
            return True
        if self.is_versioned:
            has_moved = is_newer(fingerprint, self.base.fingerprint)
        else:
            has_moved = self._has_column_moved(fingerprint, etag)
        if has_moved:
            return True
        mapper = self.row.mapper
        name = version_key(mapper) if self.is_versioned else self.terms.column
        log.logger.warning(
            "%s.%s did not move on with a write, so it cannot tell the states before and after it; the write is "
            "rolled back, with 409, unless it is only reported. Use a version that changes each time.",
            mapper.class_.__name__,
            name,
        )
        if not self.terms.is_reported:
            self.refuse()
        return False

    def _names_to_refresh(self, state: InstanceState[Any]) -> list[str]:
        """Name what is to be read anew of an object: not what has an unsent change, which would be lost.

        One in the place of another has what was not given from that, and does not know it.
        """
        known = names_of_columns(state.mapper) if self._is_replaced else loaded_names(state)
        return [name for name in known if name not in state.committed_state]

    def _refresh(self, state: InstanceState[Any]) -> None:
        """Read an object anew, except what has an unsent change."""
        names = self._names_to_refresh(state)
        if not names:  # SQLAlchemy would read everything
            return
        values = {name: state.dict[name] for name in names if name in state.dict}
        try:
            self.session.refresh(state.obj(), names)
        except InvalidRequestError as error:
            if not databases.is_gone(error):  # nothing can be loaded now, and SQLAlchemy has let go of it before
                state.dict.update(values)
                state.expired_attributes.difference_update(values)
            raise

    def _has_column_moved(self, fingerprint: object, etag: str | None) -> bool:
        """Tell whether the column that the tag is made of has another value, if by the tag or by the row."""
        name, before = self.terms.column, self.base.fingerprint
        if name is None or etag is not None:
            return name is None or etag != self.base.etag
        is_told = isinstance(before, dict) and isinstance(fingerprint, dict) and name in fingerprint
        return not is_told or bool(fingerprint[name] != before.get(name))  # type: ignore[index,attr-defined]


def _is_changed(state: InstanceState[Any]) -> bool:
    """Tell whether a flush is going to write what counts of an object: to set it to what it is changes nothing."""
    session, target = state.session, state.obj()
    if isinstance(target, Versioned):
        put_version_back(state)  # what was set is ignored, and no change
    return session is None or target in session.deleted or changes_what_counts(state)
