"""Children that belong to the content of their parent: a change of one is a change of the parent's version.

Otherwise a parent's tag would stay as it is while its lines change: an unchanged read would be stale, and a save
would overwrite what its sender has not seen. A parent without a version, whose tag is a hash of all that, is
locked instead, so that no child changes between its judgement and its commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Integer, event, inspect, select, update
from sqlalchemy.orm import (
    InstanceState,
    InstrumentedAttribute,
    Mapper,
    PassiveFlag,
    RelationshipDirection,
    RelationshipProperty,
    Session,
)
from sqlalchemy.orm.attributes import History, get_history, instance_state
from sqlalchemy.orm.exc import StaleDataError

from flask_etag.sqlalchemy.guard import guards_in_force
from flask_etag.sqlalchemy.versions import covered, covered_by, is_versioned, version_key, version_of

_Row = tuple[Mapper[Any], tuple[Any, ...]]
"""A row that may not be loaded: its mapper, and its primary key."""

_NO_LOAD = PassiveFlag.PASSIVE_NO_INITIALIZE | PassiveFlag.INCLUDE_PENDING_MUTATIONS


def covers(relationship: InstrumentedAttribute[Any]) -> None:
    """Let a change of the rows of a relationship be one of its parent: ``covers(Order.lines)``, beside the model.

    A row that is changed, added or removed through the ORM gives its parent a new version in the same transaction;
    a parent that is not loaded stays so. A parent without a version is locked; its tag has to be a
    :func:`~flask_etag.content_hash` that reads these rows.

    :param relationship: a one-to-many or one-to-one relationship.
    :raises TypeError: if it is none.
    """
    prop = getattr(relationship, "property", None)
    if not isinstance(prop, RelationshipProperty):
        raise TypeError(f"covers() takes a relationship, such as Order.lines, and was given {relationship!r}.")
    if not event.contains(Session, "before_flush", _before_flush):
        event.listen(Session, "before_flush", _before_flush)
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
    _bump(state.session, state.mapper, state.identity)
    for guard in guards_in_force():  # which were told that a write began, and take its end from a flush
        guard.after_flush_postexec(state.session)


def _before_flush(session: Session, *_: object) -> None:
    changed = [target for target in session.dirty if session.is_modified(target)]
    rows: dict[Any, _Row] = {}
    waiting = [row for target in (*session.new, *changed, *session.deleted) for row in _rows_that_cover(target)]
    while waiting:
        mapper, identity = row = waiting.pop()
        key = mapper.identity_key_from_primary_key(identity)
        if key not in rows:
            rows[key] = row
            if any(mapper.isa(child) for child in _covered_children()):  # its own parent covers it, in turn
                waiting += _parents_of(session.get_one(mapper.class_, identity))
    for mapper, identity in rows.values():
        _bump(session, mapper, identity)


def _rows_that_cover(target: object) -> Iterator[_Row]:
    """Yield the rows of which an object that is changed is a part; itself, if its parts come or go."""
    state = instance_state(target)
    if state.identity is not None:
        for name in covered_by(state.mapper):
            if get_history(target, name, _NO_LOAD).has_changes():
                yield state.mapper, state.identity
    yield from _parents_of(target)


def _parents_of(target: object) -> Iterator[_Row]:
    """Yield the rows that cover a child, and those that did before it moved, by its foreign keys."""
    mapper = instance_state(target).mapper
    for prop in _covered_relationships():
        if not mapper.isa(prop.mapper):
            continue
        names = {parent: mapper.get_property_by_column(child).key for parent, child in prop.local_remote_pairs}
        histories = [get_history(target, names[column]) for column in prop.parent.primary_key]
        for values in {_values(histories, before=False), _values(histories, before=True)}:
            if None not in values:
                yield prop.parent, values
        for relationship in mapper.relationships:
            if relationship.local_columns == prop.remote_side:  # the way back, which is followed in the flush
                history = get_history(target, relationship.key, _NO_LOAD)
                for parent in (*history.added, *history.deleted):
                    identity = None if parent is None else instance_state(parent).identity
                    if identity is not None:
                        yield prop.parent, identity


def _values(histories: list[History], *, before: bool) -> tuple[Any, ...]:
    return tuple(next(iter((before and history.deleted) or history.non_deleted()), None) for history in histories)


def _covered_relationships() -> Iterator[RelationshipProperty[Any]]:
    for model, names in covered.items():
        for name in names:
            prop: RelationshipProperty[Any] = inspect(model).relationships[name]
            local = {column for column, _ in prop.local_remote_pairs}
            if prop.direction is not RelationshipDirection.ONETOMANY or local != set(prop.parent.primary_key):
                raise TypeError(
                    f"covers({prop}) is not possible: it takes a relationship whose rows name their parent by its "
                    "primary key. Call touch(parent) where such a row changes."
                )
            yield prop


def _covered_children() -> Iterator[Mapper[Any]]:
    return (prop.mapper for prop in _covered_relationships())


def _bump(session: Session, mapper: Mapper[Any], identity: tuple[Any, ...]) -> None:
    """Give a row a new version; or, where it has none, write it as it is.

    That locks it; and PostgreSQL then refuses whoever has read before this and would lock it later.

    What the request was judged by moves from the version that was judged, or not at all. Any other moves from
    whatever it has: writers of two children of one parent are no rivals.
    """
    key = mapper.identity_key_from_primary_key(identity)
    root = session.identity_map.get(key)
    guards = [guard for guard in guards_in_force() if guard.is_target(key)]
    if guards and root is None:  # the view let go of it, or writes through another session
        root = session.get(mapper.class_, identity)
    if root is None:
        guards = [guard for guard in guards if not (guard.pending or guard.committed)]  # or it has deleted it
    elif root in session.deleted or _is_updated(instance_state(root)):
        return  # it goes, or gets a new version anyway
    version, generator = mapper.version_id_col, mapper.version_id_generator
    connection = session.connection(bind_arguments={"mapper": mapper})
    table = (mapper.primary_key[0] if version is None else version).table
    where = [column == value for column, value in zip(mapper.primary_key, identity, strict=True)]
    if guards and root is not None:
        for guard in guards:
            guard.before_write(connection, root)
        if version is not None:
            where.append(version == version_of(instance_state(root)))
    values: dict[Any, Any]
    if version is None or not callable(generator):
        values = {mapper.primary_key[0]: mapper.primary_key[0]}  # the database sees to it
    elif isinstance(version.type, Integer):
        values = {version: version + 1}
    else:
        values = {version: generator(connection.scalar(select(version).where(*where).with_for_update()))}
    updated = connection.execute(update(table).values(values).where(*where))
    if guards and updated.rowcount == 0:
        raise StaleDataError("The object has been changed since the request was judged.")
    if root is not None and version is not None:
        session.expire(root, [version_key(instance_state(root))])


def _is_updated(state: InstanceState[Any]) -> bool:
    """Tell whether a flush changes the row of an object itself: a one-to-one relationship is not in it."""
    relationships = state.mapper.relationships.values()
    in_row = [each for each in relationships if each.direction is RelationshipDirection.MANYTOONE]
    names = [each.key for each in (*state.mapper.column_attrs, *in_row)]
    return any(get_history(state.obj(), name, _NO_LOAD).has_changes() for name in names)
