"""Ways around the guard that were found by hand, as compositions of the search's own steps.

Each is a trial that broke a promise once. They are tried like any other: that a name is here says that the search
can come to it, and a guard that keeps its promises passes all of them.
"""

from __future__ import annotations

from search.models import COVERS_MANY
from search.trial import Trial

WAL, BEGINS, MEMORY = "sqlite, wal", "sqlite, wal, real begins", "sqlite, memory"
PG, MARIADB = "postgresql, read committed", "mariadb, repeatable read"

KNOWN: dict[str, Trial] = {
    "batch of which one is as it was": Trial(WAL, form="batch", steps=["set same", "other sibling", "commit"]),
    "batch of which the other is stale": Trial(WAL, form="batch", steps=["rival sibling", "set text", "commit"]),
    "cached loader": Trial(WAL, "hashed", loader="cached", early="before", steps=["set num", "commit"]),
    "covered line deleted": Trial(WAL, "lines by content", steps=["part delete", "commit"]),
    "commit that a reader prevents": Trial(
        "sqlite", steps=["rival reads", "set text", {"try SQLAlchemyError rollback": ["commit"]}]
    ),
    "commit of another session that fails": Trial(
        "sqlite, real begins", steps=[{"try SQLAlchemyError": ["second write"]}, "text delete"]
    ),
    "creation after which a try fails, and that a hook commits": Trial(
        MEMORY,
        "hashed",
        form="create",
        steps=["bulk insert", {"try SQLAlchemyError": ["core insert"]}],
        ending="abort 409",
        later=True,
    ),
    "creation after one that failed": Trial(
        WAL,
        form="create",
        steps=[{"try SQLAlchemyError": ["rival create", "core insert"]}, "bulk update", "commit"],
    ),
    "creation after one that was rolled back": Trial(
        PG, "hashed", form="create", steps=["upsert update", "rival create", "rollback", "add"]
    ),
    "creation by a statement and a change by the session": Trial(
        WAL, form="create", steps=["core insert", "merge", "commit"]
    ),
    "creation by two sessions": Trial(WAL, form="create", steps=["second merge", "second merge"]),
    "creation by a session that cannot see": Trial(
        MARIADB, form="create", steps=["other core", "rival create", "second merge"]
    ),
    "creation beside another connection": Trial(PG, form="create", steps=["rival create", "raw write"]),
    "creation by an upsert, and a loader that locks": Trial(
        PG, form="create", loader="locking", steps=["upsert update"]
    ),
    "creation in another session, in a savepoint": Trial(
        "sqlite", form="create", steps=[{"savepoint rollback": ["second add"]}]
    ),
    "creation that deletes": Trial(PG, form="create", steps=["rival create", "core delete", "commit"]),
    "creation while another session flushes": Trial(
        WAL, form="create", steps=["core delete", "add", "second read"]
    ),
    "creation that a deadlock undoes": Trial(
        MARIADB,
        form="create",
        steps=["upsert update", {"try SQLAlchemyError": ["die"]}, "rival plain", "commit"],
    ),
    "creation whose transaction an error has broken, and that is committed": Trial(
        "postgresql, repeatable read",
        "unique text",
        form="create",
        steps=[
            "core insert",
            {"try SQLAlchemyError": ["rival plain", "expire all", "bulk insert", "upsert update"]},
            "commit",
        ],
    ),
    "creation that a deadlock undoes, and the view rolls back": Trial(
        MARIADB,
        "hashed",
        form="create",
        steps=["upsert update", {"try SQLAlchemyError rollback": ["die"]}, "rival plain", "commit"],
    ),
    "creation whose view has loaded what it has made, before a statement changes that": Trial(
        MEMORY,
        "hashed",
        form="create",
        steps=["upsert update", "merge", "upsert update", "rival put", "merge", "commit"],
    ),
    "creation with an audit after its commit": Trial(
        WAL, "hashed", form="create", steps=["listen after_commit log", "commit"]
    ),
    "creation with an audit in its flush": Trial(
        MARIADB, "hashed", form="create", steps=["listen after_insert read", "merge"]
    ),
    "creation beside another session that only reads": Trial(
        PG,
        form="create",
        loader="populating",
        steps=["upsert nothing", "merge", "second read", "commit"],
    ),
    "creation that is met, and cannot be seen": Trial(
        "postgresql, serializable",
        form="create",
        steps=["rival create", "other add", {"try SQLAlchemyError": ["second add"]}],
    ),
    "hook that has set a version of its own": Trial(
        WAL, "programmatic", form="star", early="unsent", steps=["commit"]
    ),
    "read that sets the version back": Trial(
        "postgresql, repeatable read", form="get", steps=["second bulk", "set version", "commit"]
    ),
    "creation beside a row of another, deleted by a statement": Trial(
        MARIADB, form="create", steps=["rival plain", "core delete", "commit"]
    ),
    "creation beside a row of another, deleted by a text": Trial(
        MARIADB, form="create", steps=["rival plain", "text delete", "commit"]
    ),
    "reported, and gone, and changed by another connection": Trial(
        form="unprotected", steps=["rival delete", "raw write", "set text", "commit"]
    ),
    "creation by three connections": Trial(
        "postgresql, repeatable read", form="create", steps=["second merge", "second merge", "raw write"]
    ),
    "creation elsewhere, and an upsert": Trial(MARIADB, form="create", steps=["second add", "upsert update"]),
    "creation elsewhere, and an upsert, with a rival": Trial(
        MARIADB, form="create", steps=["second merge", "rival create", "upsert update"]
    ),
    "read that begins anew and writes": Trial(
        "postgresql, repeatable read", form="get", steps=["commit", "second write", "merge", "bulk update"]
    ),
    "reported, with parts of an older snapshot": Trial(
        MARIADB, "lines by content", form="unprotected", steps=["rival put part", "set text", "commit"]
    ),
    "parts of an older snapshot than a session of its own": Trial(
        MARIADB, "lines by content", steps=["second merge", "part add", "commit"]
    ),
    "deadlock swallowed, and half of a link": Trial(
        MARIADB, "tags", steps=["part delete", {"try SQLAlchemyError": ["die"]}, "part set"]
    ),
    "unsent, beside a row that is stale": Trial(
        MARIADB, later=True, steps=["other sibling", "rival sibling", "set text"]
    ),
    "read by another session, where reads lock": Trial("mariadb, serializable", "hashed", steps=["second target"]),
    "commit within a savepoint, of other rows": Trial(
        "mariadb, repeatable read, snapshot isolation",
        "unique text",
        expire=False,
        ending="abort 409",
        steps=["other add", {"savepoint rollback": ["commit", "rival put", "raw write"]}, "commit"],
    ),
    "creation that skips what it cannot see": Trial(
        MARIADB, "hashed", form="create", later=True, steps=["rival plain", "upsert nothing"]
    ),
    "creation that commits in a savepoint": Trial(
        MARIADB, form="create", steps=[{"savepoint commit": ["upsert nothing", "commit"]}]
    ),
    "creation merged twice, by a version that is stored otherwise": Trial(
        MARIADB,
        "seconds",
        form="create",
        loader="locking",
        steps=[{"try SQLAlchemyError": ["merge", "merge"]}, "commit"],
    ),
    "creation changed by another session, which the loader cannot see": Trial(
        "postgresql, repeatable read",
        form="create",
        steps=[{"savepoint rollback": ["rival plain", "second bulk"]}],
    ),
    "creation changed by another connection, which the loader cannot see": Trial(
        "mariadb, repeatable read, snapshot isolation",
        form="create",
        steps=["rival plain", "other add", "raw write", "commit"],
    ),
    "creation changed in a savepoint, on SQLite": Trial(
        BEGINS, form="create", steps=[{"savepoint rollback": ["rival plain", "second bulk"]}]
    ),
    "creation made elsewhere, and changed by others since": Trial(
        "postgresql, serializable",
        "uuid",
        form="create",
        steps=["second merge", "rival plain", "second bulk", "core insert"],
    ),
    "creation made elsewhere, changed by others, and changed here": Trial(
        PG, form="create", steps=["second merge", "rival plain", "merge", "commit"], ending="return 400"
    ),
    "creation made elsewhere, and changed here": Trial(
        "mariadb, read committed", "hashed", form="create", steps=["second merge", "merge", "upsert update"]
    ),
    "loaded in two parts, with a rival between": Trial(
        WAL, "versioned by content", loader="load_only", early="loader", steps=["bulk delete", "commit"]
    ),
    "part refused, and swallowed": Trial(
        BEGINS,
        "lines",
        later=True,
        steps=["part delete", {"try SQLAlchemyError": ["rival delete", "upsert nothing"]}],
    ),
    "reported, where each statement commits": Trial(
        "sqlite, autocommit", form="reading", steps=["upsert update", "rollback"], ending="return 500"
    ),
    "creation in another session": Trial(BEGINS, form="create", steps=["rival create", "second merge"]),
    "creation refused and swallowed in a savepoint": Trial(
        WAL,
        form="create",
        steps=["rival create", {"try SQLAlchemyError": [{"savepoint commit": ["add"]}]}, "commit"],
    ),
    "creation refused and swallowed with a rollback": Trial(
        WAL, form="create", steps=["rival create", {"try SQLAlchemyError rollback": ["add", "commit"]}]
    ),
    "creation refused and swallowed with neither": Trial(
        WAL, form="create", steps=["rival create", "add", {"try SQLAlchemyError": ["flush"]}]
    ),
    "deleted by a rival and added again": Trial(WAL, steps=["rollback", "rival delete", "add", "commit"]),
    "deleted by a rival and added again, no version": Trial(
        WAL, "hashed", steps=["rollback", "rival delete", "add", "commit"]
    ),
    "listener of the commit changes the row": Trial(
        WAL, steps=["listen before_commit stamp", "set text", "commit"]
    ),
    "listener of the commit changes the row, no version": Trial(
        WAL, "hashed", steps=["listen before_commit stamp", "set text", "commit"]
    ),
    "listener with a session": Trial(WAL, steps=["listen after_flush read", "set text", "commit"]),
    "deadlock swallowed, commit left to after_request": Trial(
        MARIADB, "hashed", later=True, steps=[{"try SQLAlchemyError": ["die"]}, "rival put", "set num"]
    ),
    "deadlock swallowed in a read": Trial(
        MARIADB, "hashed", form="get", steps=[{"try SQLAlchemyError": ["die"]}, "core update", "commit"]
    ),
    "deadlock swallowed, and another session": Trial(
        MARIADB,
        "hashed",
        steps=[{"try SQLAlchemyError": ["die"]}, "second read", "rival put", "set num", "commit"],
    ),
    "deadlock swallowed, and half of the write": Trial(
        MARIADB,
        later=True,
        steps=["set text", "flush", {"try SQLAlchemyError": ["die"]}, "expire all", "set num"],
    ),
    "own mistake drops the rest": Trial(
        BEGINS,
        "unique text",
        later=True,
        steps=[{"try SQLAlchemyError": [{"savepoint commit": ["set taken"]}]}, "other add"],
    ),
    "refused, and then set to what it is": Trial(
        WAL, steps=["rival put", {"try SQLAlchemyError": ["text"]}, "set same"]
    ),
    "set to what it is, and stamped by a listener": Trial(
        WAL, steps=["set same", "listen before_update stamp", "commit"]
    ),
    "set to what it is, beside another row": Trial(WAL, steps=["set same", "other sibling", "commit"]),
    "lines of what a listener stamps": Trial(
        WAL, "lines", steps=["listen before_update stamp", "part add", "commit"]
    ),
    "sent and not committed, with a 4xx": Trial(MEMORY, steps=["bulk update"], ending="abort 409", later=True),
    "version of the view's own, only reported": Trial(
        WAL, "programmatic", form="reading", steps=["set text", "commit"]
    ),
    "unsent, and merged, with a 4xx": Trial(
        WAL, "hashed", steps=["set text", "merge"], ending="return 400", later=True
    ),
    "unsent when it is read back": Trial(
        WAL, "hashed", later=True, steps=["set text", "listen after_flush_postexec stamp"]
    ),
    "refused deletion tried again": Trial(
        WAL,
        steps=["rollback", "rival put", "again", "delete", {"try SQLAlchemyError": ["flush"]}, "commit"],
    ),
    "refused deletion tried again, no version": Trial(
        WAL,
        "hashed",
        steps=["rollback", "rival put", "again", "delete", {"try SQLAlchemyError": ["flush"]}, "commit"],
    ),
    "rollback ends the lock of bulk": Trial(
        WAL, "hashed", steps=["rollback", "rival put", "bulk update", "commit"]
    ),
    "set for display after another session": Trial(WAL, steps=["second write", "set same", "commit"]),
    "swallowed flush": Trial(WAL, steps=["rival put", "set text", {"try SQLAlchemyError": ["flush"]}]),
    "swallowed in another session": Trial(WAL, steps=["rival put", {"try SQLAlchemyError": ["second write"]}]),
    "upsert creates": Trial(WAL, "hashed", form="create", steps=["rival create", "upsert update", "commit"]),
    "version_id_col that does not move": Trial(WAL, "programmatic", steps=["set quietly", "commit"]),
    "version that is stored otherwise": Trial(WAL, "seconds", steps=["set text", "commit"]),
    "versioned at autocommit": Trial(
        "sqlite, autocommit", steps=["set num", "flush", "rival fresh", "refresh", "set text", "commit"]
    ),
    "version of what takes a deleted row's place": Trial(WAL, steps=["delete add", "set version", "commit"]),
    "gone, and a flush was to load it": Trial(
        "sqlite, wal, real begins",
        later=True,
        steps=["commit", "set text", "rival delete", {"try SQLAlchemyError": ["merge"]}],
    ),
    "read that commits a part": Trial(
        "postgresql, repeatable read", form="get", steps=["second write", "merge", "commit"]
    ),
    "statement whose rows become objects": Trial(WAL, steps=["rival put", "returning", "commit"]),
    "made again under a plan": Trial(WAL, form="insist", steps=["delete", "flush", "add", "commit"]),
    "made again, and the database counts anew": Trial(
        MARIADB, "triggered", steps=["delete", "flush", "core insert", "commit"]
    ),
    "made elsewhere, past a loader that cannot see": Trial(
        "sqlite, wal, real begins", form="create", steps=["second add", "rival plain", "second merge"]
    ),
    "kept until another session's commit": Trial(PG, "xmin", steps=["upsert nothing", "second target"]),
    "commit in a savepoint's block, of a column": Trial(
        WAL, "column", steps=[{"savepoint rollback": ["upsert update", "commit"]}], ending="raise"
    ),
    "commit in a savepoint's block, and the object after it": Trial(
        WAL, "hashed", steps=["set text", {"savepoint rollback": ["commit"]}, "bulk save"], expire=False
    ),
    "refused while a view that another calls gives up": Trial(
        "mariadb, repeatable read, snapshot isolation", form="nested", steps=["rival delete"], ending="abort 404"
    ),
    "made by another before a listener of the commit": Trial(
        PG, "hashed", form="create", steps=["listen before_commit core", "rival plain", "commit"]
    ),
    "made by another, and the loader's session is broken": Trial(
        PG,
        form="create",
        steps=[
            "rival create",
            {"try Exception": ["again locked", "set num", {"savepoint commit": []}]},
            "raw write",
        ],
    ),
    "made by the request, and the loader's session is broken": Trial(
        PG, form="create", steps=["second add", {"try Exception": ["mistake"]}, "raw write"]
    ),
    "key changed and taken back, under a plan": Trial(WAL, form="insist", steps=["set text", "commit", "set key"]),
    "key changed, and the commit is refused": Trial(
        "sqlite",
        steps=["rival reads", "set key", {"try SQLAlchemyError rollback": ["commit"]}, "set text", "commit"],
    ),
    "key changed in a savepoint": Trial(
        WAL, steps=[{"savepoint rollback": ["set key", "flush", "commit"]}, "set text", "commit"]
    ),
    "list that a hash sorts, in a view that another calls": Trial(
        BEGINS, "sorting", form="nested", steps=["rollback", "delete"]
    ),
    "ROLLBACK that undoes nothing": Trial(
        "sqlite, autocommit", "hashed", form="reading", steps=["bulk update", "rollback"]
    ),
    "ROLLBACK that undoes nothing of a part": Trial(
        "postgresql, autocommit", "tags", form="reading", steps=["part foreign", "part delete", "rollback"]
    ),
    "refused where each statement is committed at once": Trial(
        "postgresql, autocommit", form="get", steps=["text delete", "set text", "commit"]
    ),
    "version that merge() has set, and nobody has sent": Trial(
        MEMORY, "lines", steps=["part delete", "merge kept"], ending="abort 404"
    ),
    "made by a second session, and locked after that": Trial(
        BEGINS, "hashed", form="create", steps=["second add", {"try SQLAlchemyError": ["merge", "merge"]}]
    ),
    "loader that commits, asked within a commit": Trial(
        WAL, "hashed", steps=["upsert update", "set text", "commit"], loader="committing"
    ),
    "loader that commits, and a view that does not": Trial(
        PG, "uuid", steps=["bulk update", "rival fresh", "other sibling"], loader="committing"
    ),
    "loader that merges what it has kept": Trial(WAL, steps=["returning", "rival put"], loader="cached"),
    "made by a second session, and shown by a snapshot of before": Trial(
        MARIADB, "lines by content", form="create", steps=["second add", "bulk update", "commit"]
    ),
    "made by a statement whose transaction is broken": Trial(
        PG,
        "xmin",
        form="create",
        steps=[
            "upsert update",
            "rival plain",
            {"try SQLAlchemyError": ["core insert"]},
            {"try SQLAlchemyError rollback": ["second merge", "expire all", "add"]},
            "add",
            "commit",
        ],
    ),
    "part of a request that is disowned while its loader reads": Trial(
        "sqlite, real begins", form="insist", steps=["rollback", "second merge", "upsert update", "commit"]
    ),
    "row that is let go of beside another": Trial(
        "sqlite, wal, real begins", "column", steps=["other add", "expunge"]
    ),
    "savepoint of a connection that commits by itself, in a creation": Trial(
        "sqlite, autocommit", "hashed", form="create", steps=[{"savepoint commit": ["add"]}]
    ),
    "savepoint of a connection that commits by itself, in a report": Trial(
        "sqlite, autocommit", form="unprotected", steps=[{"savepoint commit": ["set text"]}]
    ),
    "savepoint of a connection that commits by itself, before any statement": Trial(
        "postgresql, autocommit", "hashed", form="get", steps=[{"savepoint rollback": ["second merge"]}]
    ),
    "report of a row that is gone, where each statement is committed at once": Trial(
        "postgresql, autocommit", form="unprotected", steps=["rival plain delete", "set num"]
    ),
    "report of the same, where something was written before": Trial(
        "postgresql, autocommit", form="unprotected", steps=["set num", "flush", "rival plain delete", "set text"]
    ),
    "deleted after a commit, while a listener commits on another connection": Trial(
        BEGINS, steps=["listen before_delete log", "commit", "delete"]
    ),
    "deleted by a statement, and a change of it whose error is swallowed": Trial(
        MEMORY, "hashed", steps=["core delete", "set text", {"try SQLAlchemyError": ["upsert update"]}]
    ),
    "key set after a statement, and an error that comes later than without a guard": Trial(
        MEMORY,
        "programmatic",
        steps=[
            "core connection",
            {"try SQLAlchemyError": [{"savepoint commit": ["set key"]}, "bulk list"]},
            "commit",
        ],
    ),
    "savepoint of a connection that commits by itself, in a read": Trial(
        "sqlite, autocommit", form="get", steps=[{"savepoint commit": ["set taken"]}]
    ),
    "read under a lock whose refusal is swallowed": Trial(
        PG, steps=["rival put", {"try SQLAlchemyError rollback": ["again locked"]}]
    ),
    "report of a statement that leaves the row as another has left it": Trial(
        MARIADB, form="reading", steps=["rival put", "upsert nothing", "set text"]
    ),
    "row that another makes in the place of a deleted one, only reported": Trial(
        "postgresql, repeatable read",
        "hashed",
        form="unprotected",
        steps=["rival delete", "upsert nothing", "commit"],
    ),
    "created over another's by a second session, while the loader's is ended inside its own block": Trial(
        "sqlite",
        "hashed",
        form="create",
        steps=["rival create", {"savepoint rollback": ["rollback", "second merge"]}],
    ),
    "the same by a statement, which its COMMIT would let pass": Trial(
        PG, "hashed", form="create", steps=["rival plain", {"savepoint commit": ["commit", "second bulk"]}]
    ),
    "the same after an error that has ended the block": Trial(
        "postgresql, serializable",
        form="create",
        steps=[
            {
                "savepoint commit": [
                    {"try SQLAlchemyError rollback": ["add", "rival create", "refresh"]},
                    "second bulk",
                ]
            }
        ],
    ),
    "created over another's by a second session, while the loader's can only be rolled back": Trial(
        BEGINS,
        form="create",
        steps=[
            "upsert update",
            "add",
            {"try SQLAlchemyError": ["bulk update"]},
            "second add",
            "rival plain",
            "second merge",
            "commit",
        ],
    ),
    "what is unsent, and a loader that reads its row anew": Trial(
        MARIADB, steps=["other sibling", "query", "set text"], loader="populating", ending="return 400", later=True
    ),
    "what is unsent, and a loader that expires its row": Trial(
        MEMORY, "hashed", steps=["other sibling", "merge old"], loader="expired", ending="return 400", later=True
    ),
    "what is unsent, and a loader that answers from a cache": Trial(
        MEMORY, "hashed", steps=["returning", "set text"], loader="cached", ending="return 400", later=True
    ),
    "cache that is older than what the view has left": Trial(
        MEMORY, steps=[{"try SQLAlchemyError": ["other sibling", "merge", "commit"]}, "commit"], loader="cached"
    ),
    "read that deletes twice": Trial(MARIADB, "hashed", form="get", steps=["bulk delete", "delete", "commit"]),
    "read that deletes, and replaces in a savepoint": Trial(
        MEMORY,
        form="get",
        steps=["bulk delete", {"try SQLAlchemyError": [{"savepoint commit": ["delete add"]}]}, "commit"],
    ),
    "creation that a deadlock has undone": Trial(
        "mariadb, serializable", form="create", steps=["merge", {"try SQLAlchemyError": ["die"]}, "commit"]
    ),
    "unsent state that is let go of": Trial(BEGINS, "hashed", form="star", steps=["expunge"], early="unsent"),
    "report of one table of two": Trial(
        "postgresql, repeatable read",
        "joined by content",
        form="unprotected",
        steps=["rival put", "bulk update", "commit"],
    ),
    "report of a part whose whole is gone": Trial(
        "mariadb, repeatable read, snapshot isolation",
        "lines",
        form="reading",
        steps=["part remove", "rival delete"],
        loader="cached",
    ),
    "creation that a savepoint takes back, and leaves in the session": Trial(
        PG, form="create", steps=[{"savepoint rollback": ["upsert nothing", "raw other", "again"]}]
    ),
    "report of what was merged with its own xmin": Trial(
        PG, "xmin", form="reading", steps=["merge old", "rival put"]
    ),
    "loader whose transaction is aborted, and a session that made what it replaces": Trial(
        PG,
        "xmin with lines",
        form="create",
        steps=[
            "add",
            "second merge",
            {"try SQLAlchemyError rollback": ["merge"]},
            {"try SQLAlchemyError": ["core insert"]},
            "second merge",
            "second read",
            "commit",
        ],
        loader="locking",
    ),
    "read whose session is committed while another one writes": Trial(
        "postgresql, serializable", form="get", steps=["listen after_commit log", "commit"]
    ),
    "report by a connection that commits by itself, in a savepoint, and a listener's own session": Trial(
        "sqlite, autocommit", form="unprotected", steps=[{"savepoint commit": ["text", "listen after_commit log"]}]
    ),
    "read that writes by itself, and then in a savepoint": Trial(
        "sqlite, autocommit",
        "programmatic",
        form="get",
        steps=["set text", {"savepoint commit": ["bulk mappings"]}],
    ),
    "xmin that covers": Trial(PG, "xmin with lines", steps=["part add", "commit"]),
    "xmin that is touched": Trial(PG, "xmin with lines", steps=["touch", "commit"]),
    **(
        {
            "many to many": Trial(WAL, "tags", steps=["rival put part", "part set", "commit"]),
            "deletion whose links, which go first, a rival has changed": Trial(
                MARIADB,
                "tags",
                steps=["delete", "rival put part", {"try SQLAlchemyError rollback": ["again fresh"]}],
            ),
            "what a savepoint takes back of a version that a part has moved": Trial(
                MEMORY, "tags", steps=["part remove", {"savepoint rollback": ["part add", "refresh"]}, "commit"]
            ),
        }
        if COVERS_MANY
        else {}
    ),
}
