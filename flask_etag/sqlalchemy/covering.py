"""Parts that belong to the content of a whole: a change of one is a change of the version of the whole.

Otherwise the tag of an order would stay as it is while its lines change: an unchanged read would be stale, and a
save would overwrite what its sender has not seen.

The whole's version is moved from the parts' before_insert, before_update and before_delete events. Foreign keys
are final there, and the whole's row is locked before any part is written: writers of parts queue at the whole and
cannot deadlock. Of a many-to-many relationship, the links are looked for before the flush, for the same reason;
and after it once more, since other listeners may have made some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import ref

from sqlalchemy import ColumnElement, Connection, Integer, bindparam, event, inspect, select, update
from sqlalchemy.orm import (
    InstanceState,
    InstrumentedAttribute,
    Mapper,
    PassiveFlag,
    RelationshipDirection,
    RelationshipProperty,
    Session,
)
from sqlalchemy.orm.attributes import get_history, instance_state

from flask_etag.sqlalchemy.databases import OWN
from flask_etag.sqlalchemy.models import covered, expire_parts, is_versioned, loaded_names, version_key
from flask_etag.sqlalchemy.unit import units_in_force
from flask_etag.sqlalchemy.unversioned import changes_what_counts

_T = TypeVar("_T")

_Identity = tuple[Any, ...]
"""The primary key of a row that may not be loaded."""

_DONE = "flask_etag_done"
"""Where a session notes the identity keys of what its flush has inserted, or moved already."""

_CHANGED = "flask_etag_changed"
"""Where it notes the objects that it has moved from a version which it had not read."""


def covers(relationship: InstrumentedAttribute[Any]) -> None:
    """Let a change of the rows of a relationship be one of its parent: ``covers(Order.lines)``, beside the model.

    A row that is changed, added or removed through the ORM gives its parent a new version in the same transaction;
    a parent that is not loaded stays so. Of a many-to-many relationship, a link that is added or removed, from
    whichever side, counts as well; a change of a row there moves all parents that it is linked to.

    :param relationship: a relationship of a model with a version: one-to-many, one-to-one or many-to-many.
    :raises TypeError: if it is none, or its model has no version; where its model names classes that are still to
        come, as soon as they have.
    """
    prop = getattr(relationship, "prop", None)  # and not its property, which would have those classes by now
    if not isinstance(prop, RelationshipProperty):
        raise TypeError(f"covers() takes a relationship, such as Order.lines, and was given {relationship!r}.")
    names = covered.setdefault(prop.parent.class_, set())
    if prop.key in names:
        return
    if prop.parent.configured:
        _listen(prop)
    else:
        event.listen(prop.parent, "mapper_configured", lambda *_: _listen(prop))
    names.add(prop.key)


def touch(parent: object) -> None:
    """Give an object a new version now, since something that belongs to it has changed.

    For what :func:`covers` does not see: a bulk update of its children, say.

    :param parent: an object of a model with a version, in a session.
    :raises TypeError: if its model has no version, or it is of none, as ``None`` is.
    :raises ValueError: if it is in no session, or not flushed.
    """
    state: object = inspect(parent, raiseerr=False)
    if not isinstance(state, InstanceState):
        raise TypeError(f"touch() takes an object of a model with a version, and was given {parent!r}.")
    if state.session is None or state.identity is None:
        raise ValueError(
            f"This {state.class_.__name__} is in no session, or not flushed: there is nothing to touch."
        )
    if not is_versioned(state.mapper):
        raise TypeError(f"{state.class_.__name__} has no version that could be moved.")
    session = state.session
    if session._flushing:  # it is called by a listener
        session.info.setdefault(_DONE, set())
        session.info.setdefault(_CHANGED, [])
        _move(session, state.mapper, state.identity)
        return
    session.flush()
    _begin(session)
    _move(session, state.mapper, state.identity)
    _read_changed_anew(session)


def _begin(session: Session, *_: object) -> None:
    session.info[_DONE] = set()
    session.info[_CHANGED] = []


def _before_flush(session: Session, *_: object) -> None:
    _begin(session)
    _move_what_is_linked(session)


def _listen(prop: RelationshipProperty[Any]) -> None:
    """Let whatever is told of the parts in a relationship move their whole."""
    whole, part = prop.parent, prop.mapper
    if not is_versioned(whole):
        raise TypeError(
            f"covers({prop}) is not possible: {whole.class_.__name__} has no version that its parts could move. "
            "Give it one, with the mixin flask_etag.sqlalchemy.Versioned."
        )
    if not _coverings and not _links:  # where nothing is covered, it would cost every flush
        event.listen(Session, "before_flush", _before_flush)
        event.listen(Session, "after_flush", _move_what_is_linked)
        event.listen(Session, "after_flush_postexec", _read_changed_anew)
        event.listen(Mapper, "after_insert", _after_insert)
    if prop.direction is RelationshipDirection.MANYTOMANY:
        link = _Link(prop)
        named_by_key = {column for column, _ in prop.secondary_synchronize_pairs or ()} == set(part.primary_key)
        if not named_by_key or [column for column, _ in prop.synchronize_pairs] != list(whole.primary_key):
            raise TypeError(
                f"covers({prop}) is not possible: it takes a relationship whose links name both sides by their "
                "primary keys. Call touch(parent) where such a link changes."
            )
        _links.append(ref(link))
        event.listen(part, "before_update", link.before_update, propagate=True)
        return
    keys = [whole.get_property_by_column(column) for column in whole.primary_key]
    pairs = prop.local_remote_pairs if prop.direction is RelationshipDirection.ONETOMANY else []
    named = {whole.get_property_by_column(key): column for key, column in pairs}
    ways = [prop, *(part.get_property(back) for back in [prop.back_populates] if back)]
    if named.keys() != set(keys) or any(way.post_update for way in ways):
        raise TypeError(
            f"covers({prop}) is not possible: it takes a relationship whose rows name their parent by its primary "
            "key, from the first (so without post_update). Call touch(parent) where such a row changes."
        )
    covering = _Covering(whole, part, [named[key] for key in keys])
    _coverings.append(ref(covering))
    event.listen(part, "before_insert", covering.before_write, propagate=True)
    event.listen(part, "before_update", covering.before_update, propagate=True)
    event.listen(part, "before_delete", covering.before_write, propagate=True)


@dataclass(frozen=True, eq=False)
class _Covering:
    """A relationship that is covered."""

    whole: Mapper[Any]
    part: Mapper[Any]
    columns: list[ColumnElement[Any]]
    """Those of a part that name its whole, in the order of the primary key of that."""

    def before_update(self, mapper: Mapper[Any], connection: Connection, target: object) -> None:
        if changes_what_counts(instance_state(target)):
            self.before_write(mapper, connection, target)

    def before_write(self, mapper: Mapper[Any], _: Connection, target: object) -> None:
        """Move what a part belongs to, and what it belonged to before."""
        state = instance_state(target)
        session: Session = state.session  # type: ignore[assignment]
        names = [mapper.get_property_by_column(column).key for column in self.columns]
        wholes = {tuple(getattr(target, name) for name in names)}
        key = state.key or mapper.identity_key_from_instance(target)
        stored = session.identity_map.get(key)
        if stored is not None:  # the part itself, or one that is deleted and made again
            histories = [get_history(stored, name, PassiveFlag.PASSIVE_NO_INITIALIZE) for name in names]
            loaded: list[Sequence[Any]] = [history.deleted or history.unchanged for history in histories]
            if all(loaded):
                wholes.add(tuple(values[0] for values in loaded))
            else:
                wholes.add(self.stored_whole(session, key[1]))
        for whole in wholes:
            _move(session, self.whole, whole)

    def stored_whole(self, session: Session, part: _Identity) -> _Identity:
        """Read what a row names as its whole; nothing where there is no such row."""
        where = [column == value for column, value in zip(self.part.primary_key, part, strict=True)]
        connection = session.connection(bind_arguments={"mapper": self.part})
        named = select(*self.columns).select_from(self.part.persist_selectable).where(*where)
        return tuple(connection.execute(named, execution_options={OWN: True}).first() or [None])


_WITH_WHAT_IS_PENDING = PassiveFlag.PASSIVE_NO_INITIALIZE | PassiveFlag.INCLUDE_PENDING_MUTATIONS
"""Of a collection that is not loaded: what was added to it from the other side."""

_coverings: list[ref[_Covering]] = []
_links: list[ref[_Link]] = []
"""What is covered, as long as its models are there, whose listeners keep it: a model that stays without those that
its relationships name could not be configured any more. None is taken out, since another thread may be reading."""


def _living(references: list[ref[_T]]) -> list[_T]:
    return [referred for reference in references if (referred := reference()) is not None]


def _after_insert(mapper: Mapper[Any], _: Connection, whole: object) -> None:
    session: Session = instance_state(whole).session  # type: ignore[assignment]
    session.info.setdefault(_DONE, set()).add(mapper.identity_key_from_instance(whole))


def _move_what_is_linked(session: Session, *_: object) -> None:
    """Move the wholes whose links a flush adds or removes, from whichever side of the relationship."""
    links = _living(_links)
    for deleted in session.deleted:  # its links go before it does
        state = instance_state(deleted)
        for link in links:
            if state.mapper.isa(link.way.mapper) and state.identity is not None:
                link.move_wholes(session, state.identity)
    for changed in (*session.new, *session.dirty):
        mapper = instance_state(changed).mapper
        for way in mapper.relationships:
            for link in [link for link in links if link.way.secondary is way.secondary]:
                history = get_history(changed, way.key, _WITH_WHAT_IS_PENDING)
                others = [*(history.added or ()), *(history.deleted or ())]
                is_whole = mapper.isa(link.way.parent) and way.key == link.way.key
                for whole in ([changed] if others else []) if is_whole else others:
                    state = instance_state(whole)
                    if state.identity is not None and state.mapper.isa(link.way.parent):
                        _move(session, link.way.parent, state.identity)


@dataclass(frozen=True, eq=False)
class _Link:
    """A many-to-many relationship that is covered."""

    way: RelationshipProperty[Any]

    def before_update(self, _mapper: Mapper[Any], _connection: Connection, part: object) -> None:
        """Move what a part is linked to, before it is changed."""
        state = instance_state(part)
        if changes_what_counts(state) and state.session is not None and state.identity is not None:
            self.move_wholes(state.session, state.identity)

    def move_wholes(self, session: Session, part: _Identity) -> None:
        """Move what a row is linked to."""
        wholes = [column for _, column in self.way.synchronize_pairs]
        part_of = dict(self.way.secondary_synchronize_pairs or ())
        where = [part_of[key] == value for key, value in zip(self.way.mapper.primary_key, part, strict=True)]
        connection = session.connection(bind_arguments={"mapper": self.way.parent})
        for whole in connection.execute(select(*wholes).where(*where), execution_options={OWN: True}).all():
            _move(session, self.way.parent, tuple(whole))


def _move(session: Session, mapper: Mapper[Any], identity: _Identity) -> None:
    """Move a row, once in a flush, after what it is itself a part of."""
    key = mapper.identity_key_from_primary_key(identity)
    if None in identity or key in session.info[_DONE]:
        return
    session.info[_DONE].add(key)
    for covering in _living(_coverings):
        if mapper.isa(covering.part) or covering.part.isa(mapper):
            _move(session, covering.whole, covering.stored_whole(session, identity))
    for link in _living(_links):
        if mapper.isa(link.way.mapper):
            link.move_wholes(session, identity)
    _bump(session, mapper, identity)


def _bump(session: Session, mapper: Mapper[Any], identity: _Identity) -> None:
    """Give a row a new version.

    What the request has claimed moves from the version that it expects, or not at all. Any other row moves from
    whatever it has: writers of two children of one parent are no rivals. Where that is not what was read, the rest
    is read anew, too.

    :raises StaleDataError: if the row is claimed, and has another version.
    """
    root = session.identity_map.get(mapper.identity_key_from_primary_key(identity))
    if root is not None and (root in session.deleted or changes_what_counts(instance_state(root))):
        return  # it goes, or gets a new version anyway
    connection = session.connection(bind_arguments={"mapper": mapper})
    where = [column == value for column, value in zip(mapper.primary_key, identity, strict=True)]
    claimed = [(unit, claim) for unit in units_in_force() for claim in unit.moving(mapper, identity, connection)]
    if claimed and root is None:  # the view has let go of it, or writes through another session
        root = session.get(mapper.class_, identity)
    for number, (unit, claim) in enumerate(claimed):
        version = claim.version_to_replace
        is_moved = number > 0 or _update(connection, mapper, where, version)
        if claim.terms.is_reported and claim.connection is None and (version is None or not is_moved):
            claim.note_another()  # it replaces whatever is there
            is_moved = is_moved or _update(connection, mapper, where, None)
        unit.moved(claim, connection, root, is_moved=is_moved)
    if not claimed:
        seen = None if root is None else instance_state(root).dict.get(version_key(mapper))
        if not _update(connection, mapper, where, seen) and root is not None:
            session.info[_CHANGED].append(root)
            _update(connection, mapper, where, None)
    if root is not None:
        session.expire(root, [version_key(mapper)])
        session._register_altered([instance_state(root)])  # a savepoint that takes it back expires it once more


def _update(
    connection: Connection, mapper: Mapper[Any], where: list[ColumnElement[bool]], seen: object | None
) -> bool:
    """Give a row the next version, and tell whether there was one.

    :param seen: the version that it has to have; ``None`` for whatever it has.
    """
    version: Any = mapper.version_id_col
    generator = mapper.version_id_generator
    if seen is not None:
        where = [*where, version == bindparam(None, seen, type_=version.type)]  # xmin reaches psycopg as a text
    values: dict[Any, Any]
    if not callable(generator):
        values = {mapper.primary_key[0]: mapper.primary_key[0]}  # the database sees to it
    elif isinstance(version.type, Integer):
        values = {version: version + 1}
    else:
        before = select(version).where(*where).with_for_update()
        has = connection.scalar(before, execution_options={OWN: True}) if seen is None else seen
        values = {version: generator(has)}
    statement = update(version.table).values(values).where(*where)
    return connection.execute(statement, execution_options={OWN: True}).rowcount > 0


def _read_changed_anew(session: Session, *_: object) -> None:
    """Let what others had changed before it was moved be read anew: its version is now one of what they wrote."""
    for root in session.info.pop(_CHANGED, ()):
        expire_parts(session, root)
        if not instance_state(root).modified:
            session.expire(root, loaded_names(instance_state(root)))
