"""Collections: their tag is made of keys and versions, which are read without the rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, Generic, TypeVar

from flask import current_app, has_request_context, request
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, scoped_session
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.util import LRUCache

from flask_etag.fingerprints import Fingerprint, message_of
from flask_etag.settings import settings_of
from flask_etag.sqlalchemy.models import mapper_of, names_of_key, read_parts_anew, version_key, version_of

T = TypeVar("T")

_texts: LRUCache[Any, str] = LRUCache(500)
"""The SQL of statements, without the values of their parameters: to make it takes as long as to read a page."""


_FAR = 100
"""From which page on there is no narrow query. To skip rows, PostgreSQL takes out of each what the query selects,
so that it costs more the fewer columns there are; what the narrow query saves is some of the rows of one page."""


class Page(Generic[T]):
    """What a ``select`` finds, or a page of it: for a loader to return.

    For example::

        @resource
        def find_notes():
            page = request.args.get("page", 1, int)
            return Page(db.session, select(Note).order_by(Note.id), page=page, per_page=50)

    Its tag covers the statement and its parameters, which members there are in which order, and the version of
    each; and the total, if it is counted. A GET or HEAD with conditions is judged by one narrow query, for keys
    and versions. What is not a 304 loads the rows, and has its tag from these; so does what is more than a
    hundred pages behind the first row, where the narrow query would cost as much.

    :param session: the session to read with.
    :param statement: a ``select`` of one model with a version, in an order that is always the same. Where a join
        repeats members, they are shown once, but counted as often as they are found, also to fill a page: find
        them by ``.where(Note.tags.any(...))``, say.
    :param page: which page, from 1.
    :param per_page: how many members a page has; ``None`` for all on one.
    :param offset: how many members to skip, in the place of ``page``.
    :param limit: how many members to show at most, in the place of ``per_page``.
    :param counted: whether there is a total, which costs a query.
    :raises TypeError: if the statement selects anything else, the model has no version, a number is none, or there
        are numbers of both kinds; and as the tag is taken, if the statement leaves out the version.
    :raises ValueError: if a number is less than 1, or ``offset`` less than 0; or there is a second page without
        ``per_page``.
    """

    def __init__(
        self,
        session: Session | scoped_session[Any],
        statement: Select[T],
        *,
        page: int = 1,
        per_page: int | None = None,
        offset: int | None = None,
        limit: int | None = None,
        counted: bool = False,
    ) -> None:
        if offset is not None or limit is not None:
            if page != 1 or per_page is not None:
                raise TypeError(
                    "A page is told by page= and per_page=, or by offset= and limit=, and not by both."
                )
            if not (isinstance(offset, int | None) and isinstance(limit, int | None)):
                raise TypeError(f"offset= and limit= take integers, and were given {offset!r} and {limit!r}.")
            if (offset is not None and offset < 0) or (limit is not None and limit < 1):
                raise ValueError(f"offset= is 0 or more, and limit= 1 or more: not {offset} and {limit}.")
        if not (isinstance(page, int) and isinstance(per_page, int | None)):
            raise TypeError(
                'page= and per_page= take integers, such as request.args.get("page", 1, int), and were given '
                f"{page!r} and {per_page!r}."
            )
        if page < 1 or (per_page is not None and per_page < 1):
            raise ValueError(f"Pages are counted from 1, and have 1 member or more: not {page} and {per_page}.")
        if page > 1 and per_page is None:
            raise ValueError(
                f"Without per_page= all members are on the first page, so that there is no page {page}."
            )
        mapper = mapper_of(statement) if isinstance(statement, Select) else None
        if mapper is None or mapper.version_id_col is None:
            raise TypeError(
                "Page() takes a select of one model with a version, such as select(Note). Give it one, with "
                "the mixin flask_etag.sqlalchemy.Versioned; or return a list, whose tag is made of its members'."
            )
        self.page = page
        self.per_page = per_page
        self._session = session
        self._mapper = mapper
        self._all = statement
        if per_page is not None:
            limit, offset = per_page, (page - 1) * per_page
        self._statement = statement if limit is None else statement.limit(limit)
        if offset is not None:
            self._statement = self._statement.offset(offset)
        self._counted = counted

    @cached_property
    def items(self) -> Sequence[T]:
        """The members, loaded."""
        self._forget_parts()
        return self._session.scalars(self._statement).unique().all()

    @cached_property
    def total(self) -> int | None:
        """How many members all pages have, if that is counted."""
        if not self._counted:
            return None
        return self._session.scalar(select(func.count()).select_from(self._all.order_by(None).subquery()))

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __etag__(self) -> Fingerprint:
        """Return what tells one state of the page from another."""
        narrow = self._read_narrowly()
        return self._fingerprint(self._members()) if narrow is None else narrow

    def _fingerprint(self, members: Iterable[Iterable[Any]]) -> Fingerprint:
        text = _text_of(self._statement)
        return Fingerprint(message_of("page", text, str(self.total), *chain.from_iterable(members)))

    def _read_narrowly(self) -> Fingerprint | None:
        """Read keys and versions alone, where that is likely to be all: its sender has this state already.

        What a SELECT DISTINCT is ordered by has to be among what it reads, on PostgreSQL. Far behind the first
        rows, it is no cheaper.

        :return: ``None`` where the rows are loaded, or have to be.
        """
        if "items" in vars(self) or self._statement._distinct or not has_request_context() or self._is_far():
            return None
        held = request.headers.get("If-None-Match", "") if request.method in ("GET", "HEAD") else ""
        if not held:
            return None
        fingerprint = self._fingerprint(self._keys_and_versions())
        return fingerprint if fingerprint.digest(settings_of(current_app).key) in held else None

    def _is_far(self) -> bool:
        """Tell whether more rows are skipped than a hundred pages have."""
        clauses = self._statement._offset_clause, self._statement._limit_clause
        offset, limit = (getattr(clause, "effective_value", None) for clause in clauses)
        return isinstance(offset, int) and isinstance(limit, int) and offset > _FAR * limit

    def _forget_parts(self) -> None:
        """Let what is held without its version be read anew, since that would be one of later content."""
        for held in self._session.identity_map.values():
            state = instance_state(held)
            if (
                state.mapper.isa(self._mapper)
                and version_key(state.mapper) not in state.dict
                and not state.modified
            ):
                self._session.expire(held, state.mapper.column_attrs.keys())

    def _members(self) -> list[tuple[Any, ...]]:
        states = [instance_state(member) for member in self.items]
        if any(version_key(state.mapper) not in state.dict for state in states):
            raise TypeError(
                f"The select leaves the version of {self._mapper.class_.__name__} for later, when it may be "
                "one of later content: name it in load_only() as well, or undefer() it."
            )
        for state in states:
            read_parts_anew(state)
        return [(*(state.identity or ()), version_of(state)) for state in states]

    def _keys_and_versions(self) -> Iterable[Iterable[Any]]:
        rows = self._session.execute(self._narrowed())
        return dict.fromkeys(rows)  # as unique() does, at less cost

    def _narrowed(self) -> Select[Any]:
        """Return the statement that reads keys and versions of what is selected, which may be an alias."""
        entity = self._statement.column_descriptions[0]["expr"]
        names = (*names_of_key(self._mapper), version_key(self._mapper))
        return self._statement.with_only_columns(
            *(getattr(entity, name) for name in names), maintain_column_froms=True
        )


def _text_of(statement: Select[Any]) -> str:
    """Return the SQL of a statement, with the values of its parameters."""
    key = statement._generate_cache_key()
    if key is None:
        compiled = statement.compile()
        return repr((str(compiled), sorted(compiled.params.items())))
    sql = _texts.get(key.key)
    if sql is None:
        sql = _texts[key.key] = str(statement)
    return repr((sql, [parameter.effective_value for parameter in key.bindparams]))
