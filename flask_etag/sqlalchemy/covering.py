"""Parts that belong to the content of a whole: a change of one is a change of the version of the whole.

Otherwise the tag of an order would stay as it is while its lines change: an unchanged read would be stale, and a
save would overwrite what its sender has not seen. A whole without a version, whose tag is a hash of all that, is
locked instead, so that no part changes between its judgement and its commit.

It is moved when a flush comes to its parts. By then their foreign keys are set, whoever has set them, and the rows
that they name are there; and no part is written yet, so that all who write one wait for each other at the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, event, select, update
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
from sqlalchemy.orm.exc import StaleDataError

from flask_etag.sqlalchemy.guard import guards_in_force
from flask_etag.sqlalchemy.rows import loaded_keys
from flask_etag.sqlalchemy.versions import covered, expire_parts, is_versioned, version_key, version_of

_Identity = tuple[Any, ...]
"""The primary key of a row that may not be loaded."""

_DONE = "flask_etag_done"
"""Where a session notes the identity keys of what its flush has inserted, or moved already."""

_CHANGED = "flask_etag_changed"
"""Where it notes the objects that it has moved from a version which it had not read."""


def covers(relationship: InstrumentedAttribute[Any]) -> None:
    """Let a change of the rows of a relationship be one of its parent: ``covers(Order.lines)``, beside the model.

    A row that is changed, added or removed through the ORM gives its parent a new version in the same transaction;
    a parent that is not loaded stays so. A parent without a version is locked; its tag has to be a
    :func:`~flask_etag.content_hash` that reads these rows.

    :param relationship: a one-to-many or one-to-one relationship.
    :raises TypeError: if it is none; where its model names classes that are still to come, as soon as they have.
    """
    prop = getattr(relationship, "prop", None)  # and not its property, which would have those classes by now
    if not isinstance(prop, RelationshipProperty):
        raise TypeError(f"covers() takes a relationship, such as Order.lines, and was given {relationship!r}.")
    if prop.key in covered[prop.parent.class_]:
        return
    if prop.parent.configured:
        _listen(prop)
    else:
        event.listen(prop.parent, "mapper_configured", lambda *_: _listen(prop))
    covered[prop.parent.class_].add(prop.key)


def touch(parent: object) -> None:
    """Give an object a new version now, since something that belongs to it has changed.

    For what :func:`covers` does not see: a bulk update of its children, say.

    :param parent: an object of a model with a version, in a session.
    :raises TypeError: if its model has no version.
    :raises ValueError: if it is in no session, or not flushed.
    """
    state = instance_state(parent)
    if state.session is None or state.identity is None:
        raise ValueError(
            f"This {state.class_.__name__} is in no session, or not flushed: there is nothing to touch."
        )
    if not is_versioned(state):
        raise TypeError(f"{state.class_.__name__} has no version that could be moved.")
    state.session.flush()
    _begin(state.session)
    _move(state.session, state.mapper, state.identity)
    _read_changed_anew(state.session)
    for guard in guards_in_force.get():  # which were told that a write began, and take its end from a flush
        guard.after_flush_postexec(state.session)


def _begin(session: Session, *_: object) -> None:
    session.info[_DONE] = set()
    session.info[_CHANGED] = []


def _listen(prop: RelationshipProperty[Any]) -> None:
    """Let whatever is told of the parts in a relationship move their whole."""
    whole, part = prop.parent, prop.mapper
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
    if not _coverings:  # where nothing is covered, it would cost every flush
        event.listen(Session, "before_flush", _begin)
        event.listen(Session, "after_flush_postexec", _read_changed_anew)
    _coverings.append(covering)
    event.listen(whole, "after_insert", _after_insert, propagate=True)
    event.listen(part, "before_insert", covering.before_write, propagate=True)
    event.listen(part, "before_update", covering.before_update, propagate=True)
    event.listen(part, "before_delete", covering.before_write, propagate=True)


@dataclass(frozen=True)
class _Covering:
    """A relationship that is covered."""

    whole: Mapper[Any]
    part: Mapper[Any]
    columns: list[ColumnElement[Any]]
    """Those of a part that name its whole, in the order of the primary key of that."""

    def before_update(self, mapper: Mapper[Any], connection: Connection, target: object) -> None:
        if _is_updated(instance_state(target)):
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
        return tuple(connection.execute(named).first() or [None])


_coverings: list[_Covering] = []


def _after_insert(mapper: Mapper[Any], _: Connection, whole: object) -> None:
    session: Session = instance_state(whole).session  # type: ignore[assignment]
    session.info[_DONE].add(mapper.identity_key_from_instance(whole))


def _move(session: Session, mapper: Mapper[Any], identity: _Identity) -> None:
    """Move a row, once in a flush, after what it is itself a part of."""
    key = mapper.identity_key_from_primary_key(identity)
    if None in identity or key in session.info[_DONE]:
        return
    session.info[_DONE].add(key)
    for covering in _coverings:
        if mapper.isa(covering.part) or covering.part.isa(mapper):
            _move(session, covering.whole, covering.stored_whole(session, identity))
    _bump(session, mapper, identity)


def _bump(session: Session, mapper: Mapper[Any], identity: _Identity) -> None:
    """Give a row a new version; or, where it has none, write it as it is.

    That locks it; and PostgreSQL then refuses whoever has read before this and would lock it later.

    What the request was judged by moves from the version that was judged, or not at all. Any other moves from
    whatever it has: writers of two children of one parent are no rivals. Where that is not what was read, the rest
    is read anew, too.
    """
    key = mapper.identity_key_from_primary_key(identity)
    root = session.identity_map.get(key)
    guards = [guard for guard in guards_in_force.get() if guard.is_target(key)]
    if guards and root is None:  # the view let go of it, or writes through another session
        root = session.get(mapper.class_, identity)
    if root is None:
        guards = [guard for guard in guards if not (guard.pending or guard.committed)]  # or it has deleted it
    elif root in session.deleted or _is_updated(instance_state(root)):
        return  # it goes, or gets a new version anyway
    version = mapper.version_id_col
    connection = session.connection(bind_arguments={"mapper": mapper})
    where = [column == value for column, value in zip(mapper.primary_key, identity, strict=True)]
    for guard in guards if root is not None else ():
        guard.before_write(connection, root)
    if root is None or version is None:
        is_moved = _update(connection, mapper, where)
    else:
        state = instance_state(root)
        name = version_key(state.mapper)
        seen = version_of(state) if guards else state.dict.get(name)
        is_moved = _update(connection, mapper, where if seen is None else [*where, version == seen])
        if not (is_moved or guards):
            session.info[_CHANGED].append(root)
            is_moved = _update(connection, mapper, where)
        session.expire(root, [name])
    if guards and not is_moved:
        raise StaleDataError("The object has been changed since the request was judged.")


def _update(connection: Connection, mapper: Mapper[Any], where: list[ColumnElement[bool]]) -> bool:
    """Give a row the next version, or none, and tell whether there was one."""
    version, generator = mapper.version_id_col, mapper.version_id_generator
    table = (mapper.primary_key[0] if version is None else version).table
    values: dict[Any, Any]
    if version is None or not callable(generator):
        values = {mapper.primary_key[0]: mapper.primary_key[0]}  # the database sees to it
    elif isinstance(version.type, Integer):
        values = {version: version + 1}
    else:
        values = {version: generator(connection.scalar(select(version).where(*where).with_for_update()))}
    return connection.execute(update(table).values(values).where(*where)).rowcount > 0


def _read_changed_anew(session: Session, *_: object) -> None:
    """Let what others had changed before it was moved be read anew: its version is now one of what they wrote."""
    for root in session.info.pop(_CHANGED, ()):
        expire_parts(session, root)
        if not instance_state(root).modified:
            session.expire(root, loaded_keys(instance_state(root)))


def _is_updated(state: InstanceState[Any]) -> bool:
    """Tell whether a flush changes the row of an object itself: a one-to-one relationship is not in it."""
    relationships = state.mapper.relationships.values()
    in_row = [way for way in relationships if way.direction is RelationshipDirection.MANYTOONE]
    names = [each.key for each in (*state.mapper.column_attrs, *in_row)]
    return any(get_history(state.obj(), name, PassiveFlag.PASSIVE_NO_INITIALIZE).has_changes() for name in names)
