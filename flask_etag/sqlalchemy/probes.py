"""Reading no more of a row than tells its state, so that an unchanged one costs no more than that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Select, inspect, select
from sqlalchemy.orm import Mapper, make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value

from flask_etag.sqlalchemy.guard import session_of_the_application
from flask_etag.sqlalchemy.versions import mapper_of


def probe(
    question: type | Select[Any], arguments: Mapping[str, object], attributes: frozenset[str]
) -> object | None:
    """Return an object in no session, of which its key, its version and some attributes are loaded.

    To ask it for anything else is SQLAlchemy's ``DetachedInstanceError``.

    :param question: a model; or a ``select`` of one, of which only these columns are read.
    :param arguments: the key, where the question is a model: by name, or the only one there is, unless that has
        the name of another column.
    :param attributes: the names of those attributes.
    """
    statement = question if isinstance(question, Select) else _by_key(inspect(question), arguments)
    mapper = mapper_of(statement)
    if mapper is None:
        raise TypeError("probe= gave a select of something else than one model: write select(Report).where(...).")
    session = session_of_the_application()
    if session is None:
        raise RuntimeError(
            f"There is no Flask-SQLAlchemy whose session could probe {mapper.class_.__name__}: let probe= be a "
            "function that returns what it has read with a session of its own."
        )
    names = sorted({*state_names(mapper), *_checked(mapper, attributes)})
    row = session.execute(narrowed(statement, names)).one_or_none()
    if row is None:
        return None
    found: object = mapper.class_manager.new_instance()
    for name, value in zip(names, row, strict=True):
        set_committed_value(found, name, value)
    make_transient_to_detached(found)
    return found


def _by_key(mapper: Mapper[Any], arguments: Mapping[str, object]) -> Select[Any]:
    names = _key_names(mapper)
    if len(names) == len(arguments) == 1 and set(arguments).isdisjoint(mapper.column_attrs.keys()):
        arguments = {names[0]: next(iter(arguments.values()))}  # by whatever name, but not by another column's
    if not set(names) <= arguments.keys():
        model = mapper.class_.__name__
        raise TypeError(
            f"probe={model} takes the key, {', '.join(names)}, from the URL's variables by name, and there are "
            f"{', '.join(arguments) or 'none'}: let it be a function that returns select({model}).where(...)."
        )
    return select(mapper).filter_by(**{name: arguments[name] for name in names})


def narrowed(statement: Select[Any], names: Iterable[str]) -> Select[Any]:
    """Return the statement that reads some attributes of what another one selects, which may be an alias."""
    entity = statement.column_descriptions[0]["expr"]
    return statement.with_only_columns(*(getattr(entity, name) for name in names), maintain_column_froms=True)


def state_names(mapper: Mapper[Any]) -> list[str]:
    """Name the attributes that tell the state of an object: its key, and its version if it has one."""
    version = mapper.version_id_col
    return _key_names(mapper) + ([] if version is None else [mapper.get_property_by_column(version).key])


def _checked(mapper: Mapper[Any], attributes: frozenset[str]) -> frozenset[str]:
    unknown = attributes - set(mapper.column_attrs.keys())
    if unknown:
        raise TypeError(
            f"{mapper.class_.__name__} has no column {', '.join(unknown)}, which its resource names, so that no "
            "probe can read it: let probe= be a function that returns an object which has it."
        )
    return attributes


def _key_names(mapper: Mapper[Any]) -> list[str]:
    return [mapper.get_property_by_column(column).key for column in mapper.primary_key]
