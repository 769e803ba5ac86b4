"""What a view can do, step by step.

A step is a text, as ``"set text"`` or ``"second write"``; one that holds others is a mapping with one entry, as
``{"try Exception": ["flush"]}``. The first word names the function that takes it, the others are its arguments.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Delete,
    Insert,
    Table,
    Update,
    and_,
    delete,
    event,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, object_session
from sqlalchemy.orm.attributes import flag_modified

from flask_etag.sqlalchemy import touch
from search.models import Other, Tag

if TYPE_CHECKING:
    from search.trial import Run

Step = str | dict[str, list["Step"]]


class _Undone(BaseException):
    """Ends a savepoint that is to be rolled back; no ``except Exception`` swallows it."""


Simple = Callable[..., None]
STEPS: dict[str, Simple] = {}
BLOCKS: dict[str, Simple] = {}


def step(name: str) -> Callable[[Simple], Simple]:
    """Register what does a step."""

    def register(does: Simple) -> Simple:
        STEPS[name] = does
        return does

    return register


def block(name: str) -> Callable[[Simple], Simple]:
    """Register what does a step that holds others."""

    def register(does: Simple) -> Simple:
        BLOCKS[name] = does
        return does

    return register


def parts(of: Step) -> tuple[str, list[Step] | None]:
    """Return a step's text, and the steps that it holds."""
    if isinstance(of, str):
        return of, None
    ((head, inner),) = of.items()
    return head, inner


def heads(steps: Iterable[Step]) -> Iterator[str]:
    """Return the texts of steps, in their order, those that they hold included."""
    for each in steps:
        head, inner = parts(each)
        yield head
        yield from heads(inner or [])


def perform(run: Run, steps: list[Step]) -> None:
    """Do one step after the other."""
    for each in steps:
        head, inner = parts(each)
        name, *arguments = head.split()
        run.begin(head)
        if inner is None:
            STEPS[name](run, *arguments)
        else:
            BLOCKS[name](run, inner, *arguments)


# Blocks


@block("try")
def attempt(run: Run, inner: list[Step], error: str, afterwards: str = "") -> None:
    """Swallow what goes wrong, and roll back or go on."""
    swallowed = Exception if error == "Exception" else SQLAlchemyError
    try:
        perform(run, inner)
    except swallowed as caught:
        run.swallow(caught)
        if afterwards == "rollback":
            run.session.rollback()


@block("savepoint")
def savepoint(run: Run, inner: list[Step], ending: str) -> None:
    """Do it in a savepoint, which is released or rolled back."""
    try:
        with run.session.begin_nested():
            perform(run, inner)
            if ending == "rollback":
                raise _Undone
    except _Undone:
        pass


@block("no_autoflush")
def no_autoflush(run: Run, inner: list[Step]) -> None:
    """Do it without autoflush."""
    with run.session.no_autoflush:
        perform(run, inner)


# The session


@step("flush")
def flush(run: Run) -> None:
    """Flush."""
    run.session.flush()


@step("commit")
def commit(run: Run) -> None:
    """Commit."""
    run.session.commit()


@step("rollback")
def rollback(run: Run) -> None:
    """Roll back."""
    run.session.rollback()


@step("query")
def query(run: Run) -> None:
    """Read something, which flushes."""
    run.session.scalar(select(func.count()).select_from(Other))


@step("expire")
def expire(run: Run, what: str = "") -> None:
    """Forget what was loaded."""
    if what == "all":
        run.session.expire_all()
    elif run.found is not None:
        run.session.expire(run.found)


@step("refresh")
def refresh(run: Run) -> None:
    """Load it anew."""
    if run.found is not None:
        run.session.refresh(run.found)


@step("expunge")
def expunge(run: Run) -> None:
    """Take it out of the session."""
    if run.found is not None:
        run.session.expunge(run.found)


@step("again")
def again(run: Run, how: str = "") -> None:
    """Get it again, from the session or from the database."""
    key = run.kind.identity
    found = run.session.get(
        run.kind.model, key, populate_existing=how == "fresh", with_for_update=True if how == "locked" else None
    )
    run.lose_or(found)


# The object


@step("set")
def set_(run: Run, what: str) -> None:
    """Set an attribute."""
    if run.found is None:
        return
    if what == "same":
        run.found.num = run.found.num
        return
    if what == "version":  # by hand, to the one that it had at first
        if run.kind.version not in (None, "xmin") and run.first_version is not None:  # no application can set xmin
            setattr(run.found, run.kind.version, run.first_version)
        return
    if what == "key":
        name, value = next(iter(run.kind.key.items()))
        setattr(run.found, name, 77 if isinstance(value, int) else "moved")
        return
    if what == "quietly":
        run.found.num = run.value("num")
        return
    if what == "taken":
        run.found.text = "second"
        return
    setattr(run.found, what, run.value(what))
    run.move(run.found)


@step("mutate")
def mutate(run: Run) -> None:
    """Change a value in place."""
    if run.found is not None:
        run.found.data["m"] = run.value("text")
        flag_modified(run.found, "data")
        run.move(run.found)


@step("add")
def add(run: Run) -> None:
    """Add an object with the target's key."""
    run.found = run.make()
    run.session.add(run.found)


@step("delete")
def delete_(run: Run, then: str = "") -> None:
    """Delete it; and add one with its key, in the same flush."""
    if run.found is None:
        return
    run.session.delete(run.found)
    if then == "add":
        add(run)


@step("merge")
def merge(run: Run, which: str = "") -> None:
    """Merge an object with the target's key: a new one, one with the first version, or one that was kept."""
    if which == "kept":
        if run.kept is None:
            return
        made = pickle.loads(run.kept)  # noqa: S301 - it is our own
        made.text = run.value("text")
        run.move(made)
    else:
        made = run.make()
        if which == "old" and run.kind.version and run.first_version is not None:
            setattr(made, run.kind.version, run.first_version)
    run.found = run.session.merge(made)


@step("touch")
def touch_(run: Run) -> None:
    """Move the version."""
    if run.found is not None and run.can_touch:
        touch(run.found)


# What belongs to it


@step("part")
def part(run: Run, how: str) -> None:
    """Change what belongs to it."""
    found = run.found
    if found is None or not run.kind.parts:
        return
    line = run.kind.line
    if line is not None:
        if how == "add":
            found.lines.append(line(text=run.value("text")))
        elif how == "foreign":
            (name,) = run.kind.parts.values()
            run.session.add(line(**{name: found.id, "text": run.value("text")}))
        elif not found.lines:
            return
        elif how == "set":
            found.lines[0].text = run.value("text")
        elif how == "delete":
            run.session.delete(found.lines[0])
        elif how in ("remove", "unlink"):
            found.lines.remove(found.lines[0])
        elif how == "replaced":
            found.lines = [line(text=run.value("text"))]
    elif how == "add":
        found.tags.append(run.session.get(Tag, 1))
    elif how == "set":
        found.tags = [run.session.get(Tag, 2)]
    elif how in ("delete", "remove"):
        found.tags = []
    else:  # from the other side, whose collection may be loaded or not
        tag = run.session.get(Tag, 2 if how == "unlink" else 1)
        if tag is not None and how == "foreign":
            tag.posts.append(found)
        elif tag is not None and how == "replaced":
            tag.posts = [found]
        elif tag is not None and found in tag.posts:
            tag.posts.remove(found)


# Statements


def _where(run: Run, table: Table) -> Any:
    return and_(*(table.c[name] == value for name, value in run.kind.key.items()))


def _write(run: Run, what: str = "text") -> Update:
    """Return an UPDATE of the table that has a column."""
    table = next(table for table in run.kind.tables if what in table.c)
    return update(table).where(_where(run, table)).values(_values(run, what, table))


def _values(run: Run, what: str, table: Table) -> dict[str, Any]:
    values = {what: run.value(what)}
    version = run.kind.version
    if run.kind.by_hand and version and version in table.c and run.kind.new_version is not None:
        values[version] = run.kind.new_version()
    return values


def _local(run: Run) -> str:
    """Return the column that the mapped table itself has."""
    return "num" if run.kind.is_joined else "text"


def _row(run: Run, version: object = None) -> dict[str, Any]:
    """Return all the values of a row, for a statement that inserts it."""
    table = run.kind.tables[0]
    row = {**run.kind.key, "text": run.value("text"), "num": run.value("num"), "data": {"list": [3, 1, 2]}}
    if "kind" in table.c:
        row["kind"] = run.kind.model.__name__.lower()
    if run.kind.version and run.kind.new_version is not None:
        row[run.kind.version] = version or run.kind.new_version()
    return row


@step("bulk")
def bulk(run: Run, how: str) -> None:
    """Write by a statement of the ORM's."""
    model, session, name = run.kind.model, run.session, _local(run)
    here = and_(*(getattr(model, key) == value for key, value in run.kind.key.items()))
    if how == "delete":
        if not run.kind.is_joined:
            session.execute(delete(model).where(here))
        return
    table = next(table for table in run.kind.tables if name in table.c)
    values = _values(run, name, table)
    if how == "update":
        session.execute(update(model).where(here).values(values))
    elif how == "all":
        session.execute(update(model).values(num=run.value("num")))
    elif how == "mappings":
        session.bulk_update_mappings(inspect(model), [{**run.kind.key, **values}])
    elif how == "list":
        session.execute(update(model), [{**run.kind.key, **values}])
    elif how == "insert" and not run.kind.is_joined:
        session.execute(insert(model), [_row(run)])
    elif how == "save" and run.found is not None:
        run.found.text = run.value("text")
        session.bulk_save_objects([run.found])


@step("core")
def core(run: Run, how: str) -> None:
    """Write by a statement of Core."""
    statement: Update | Delete | Insert
    table = run.kind.tables[0]
    if how == "delete":
        if run.kind.is_joined or run.kind.parts:
            return
        statement = delete(table).where(_where(run, table))
    elif how == "insert":
        if run.kind.is_joined:
            return
        statement = insert(table).values(_row(run))
    else:
        statement = _write(run, how if how in ("text", "num") else "text")
    if how == "connection":
        run.session.connection().execute(statement)
    else:
        run.session.execute(statement)


@step("text")
def text_(run: Run, how: str = "update") -> None:
    """Write by a statement that is a text."""
    table = next(table for table in run.kind.tables if "text" in table.c)
    where = " AND ".join(f"{name} = :key_{name}" for name in run.kind.key)
    keys = {f"key_{name}": value for name, value in run.kind.key.items()}
    if how == "delete":
        if not run.kind.is_joined and not run.kind.parts:
            run.session.execute(text(f"DELETE FROM {table.name} WHERE {where}"), keys)  # noqa: S608
        return
    run.session.execute(
        text(f"UPDATE {table.name} SET text = :value WHERE {where}"),  # noqa: S608
        {**keys, "value": run.value("text")},
    )


@step("cte")
def cte(run: Run) -> None:
    """Write inside of a SELECT, which PostgreSQL can."""
    if run.dialect != "postgresql":
        return
    statement = _write(run)
    table = next(table for table in run.kind.tables if "text" in table.c)
    written = statement.returning(table.c.text).cte("written")
    run.session.execute(select(written.c.text)).all()


@step("returning")
def returning(run: Run) -> None:
    """Write by a statement whose rows become objects."""
    if run.dialect != "mysql" and not run.kind.is_joined:
        statement = _write(run).returning(run.kind.tables[0])
        run.session.scalars(select(run.kind.model).from_statement(statement)).all()


@step("upsert")
def upsert(run: Run, how: str) -> None:
    """Insert or update."""
    if run.kind.is_joined:
        return
    table, row = run.kind.tables[0], _row(run)
    changed = {name: row[name] for name in ("text", "num") if name in row}
    if run.dialect == "mysql":
        made = mysql.insert(table).values(row)
        if how == "update":
            made = made.on_duplicate_key_update(changed)
        elif how == "nothing":
            name = next(iter(run.kind.key))
            made = made.on_duplicate_key_update({name: table.c[name]})
        run.session.execute(made)
        return
    dialect: Any = sqlite if run.dialect == "sqlite" else postgresql
    other = dialect.insert(table).values(row)
    keys = list(run.kind.key)
    if how == "update":
        other = other.on_conflict_do_update(index_elements=keys, set_=changed)
    elif how == "nothing":
        other = other.on_conflict_do_nothing(index_elements=keys)
    run.session.execute(other)


# Other sessions and connections


@step("second")
def second(run: Run, how: str) -> None:
    """Use a session of its own, and commit it."""
    if not run.world.database.has_rivals:
        return
    with Session(run.engine) as another:
        _in_another(run, another, how)
        commit_or_roll_back(another)


def commit_or_roll_back(session: Session) -> None:
    """Commit; a COMMIT that SQLite refuses is rolled back, which closing the session does not do.

    Its connection would go back to the pool with all that is not committed, for whoever comes next to commit.
    """
    try:
        session.commit()
    except SQLAlchemyError:
        session.rollback()
        raise


def _in_another(run: Run, another: Session, how: str) -> None:
    model, key = run.kind.model, run.kind.identity
    if how == "read":
        another.scalar(select(func.count()).select_from(Other))
    elif how == "target":
        another.get(model, key)
    elif how == "other":
        another.add(Other(text=run.value("text")))
    elif how == "merge":
        another.merge(run.make())
    elif how == "add":
        another.add(run.make())
    elif how == "bulk":
        another.execute(_write(run))
    else:
        found = another.get(model, key)
        if found is None:
            run.gone = run.gone or not run.trial.creates
        elif how == "delete":
            another.delete(found)
        elif how == "part":
            if run.kind.line is not None:
                found.lines.append(run.kind.line(text=run.value("text")))
            elif run.kind.parts:
                found.tags = [another.get(Tag, 1)]  # another than a rival's
        else:
            found.text = run.value("text")
            run.move(found)


@step("raw")
def raw(run: Run, how: str) -> None:
    """Use a connection of the engine's, and commit it."""
    if not run.world.database.has_rivals:
        return
    with run.engine.begin() as connection:
        if how == "read":
            connection.execute(select(func.count()).select_from(Other))
        elif how == "other":
            connection.execute(insert(Other).values(text=run.value("text")))
        else:
            connection.execute(_write(run))


# Other rows


@step("other")
def other(run: Run, how: str = "add") -> None:
    """Write a row that has nothing to do with the target."""
    if how == "add":
        run.session.add(Other(text=run.value("text")))
    elif how == "core":
        run.session.execute(update(Other).where(Other.name == "free").values(text=run.value("text")))
    elif how == "sibling":
        key = tuple(run.kind.sibling.values())
        found = run.session.get(run.kind.model, key if len(key) > 1 else key[0])
        if found is not None:
            found.text = run.value("text")
            run.move(found)


@step("mistake")
def mistake(run: Run) -> None:
    """Insert what may not be there twice."""
    run.session.add(Other(name="taken"))
    run.session.flush()


@step("raise")
def raise_(_: Run) -> None:
    """Fail."""
    raise ValueError("the view's own")


# Listeners


@step("listen")
def listen(run: Run, moment: str, does: str) -> None:
    """Have a listener do something when the session comes to a moment; those of rows, for the target."""
    if does in ("read", "log") and not run.world.database.has_rivals:
        return
    once: list[bool] = []
    own = run.session

    def act(target: Any = None, connection: Any = None) -> None:
        run.say(f"listener: {moment} {does}")
        run.changed_later = run.changed_later or (run.is_late and does not in ("read", "log", "rival"))
        if does in ("read", "log"):
            with Session(run.engine) as another:
                _in_another(run, another, "read" if does == "read" else "other")
                commit_or_roll_back(another)
            return
        if once:
            return
        once.append(True)
        if does == "rival":
            rival(run, "put")
        elif does == "stamp":
            if (target or run.found) is not None:
                (target or run.found).num = run.value("num")
        elif does == "touch":
            touched = target or run.found
            if run.can_touch and touched is not None and inspect(touched).persistent:
                touch(touched)
        elif does == "core":
            (connection or run.session.connection()).execute(_write(run, "num"))
        elif does == "other":
            if connection is not None:
                connection.execute(insert(Other).values(text=run.value("text")))
            else:
                run.session.add(Other(text=run.value("text")))

    if moment in ("before_update", "after_update", "before_delete", "after_insert"):

        def of_rows(_: Any, connection: Any, target: Any) -> None:
            if object_session(target) is own:  # a rival's thread has no session of the request's
                act(target, connection)

        event.listen(run.kind.model, moment, of_rows)
        run.cleanups.append(lambda: event.remove(run.kind.model, moment, of_rows))
    else:
        event.listen(run.session, moment, lambda *_: act())


# Rivals


@step("rival")
def rival(run: Run, *what: str) -> None:
    """Have a rival do something on a connection of its own, and wait a little for it."""
    run.rival(" ".join(what))


@step("die")
def die(run: Run) -> None:
    """Have the database choose this transaction as the victim of a deadlock about other rows."""
    run.session.flush()  # as the statements below do, also where there is nobody to meet
    if run.dialect == "sqlite" or not run.with_rivals:
        return
    run.session.execute(update(Other).where(Other.name == "taken").values(text="m"))
    ready = threading.Event()
    with run.world.observer.connect() as connection:

        def heavier() -> None:
            try:
                connection.execute(insert(Other), [{"text": "heavy"} for _ in range(30)])
                connection.execute(update(Other).where(Other.name == "free").values(text="x"))
                ready.set()
                connection.execute(update(Other).where(Other.name == "taken").values(text="x"))
            except SQLAlchemyError:
                pass
            finally:
                ready.set()
                connection.rollback()

        thread = threading.Thread(target=heavier)
        thread.start()
        try:
            ready.wait(5)
            thread.join(0.1)
            run.session.execute(update(Other).where(Other.name == "free").values(text="m"))
        finally:
            thread.join(10)


def value_of(number: int, what: str, *, decimal: bool) -> Any:
    """Return a value that is written nowhere else."""
    if what == "num":
        return Decimal(100 + number) if decimal else 100 + number
    return {"list": [number, 1], "v": number} if what == "data" else f"v{number}"
