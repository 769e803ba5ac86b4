"""Views by chance, weighted so that every trap that is known comes up often."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from search.models import KINDS, Kind
from search.steps import Step
from search.trial import ENDINGS, FORMS, LOADERS, Trial
from search.world import World

WRITES = {
    "set text": 8,
    "set num": 6,
    "set data": 2,
    "mutate": 3,
    "set quietly": 2,
    "set same": 2,
    "set version": 2,
    "set key": 1,
    "set taken": 2,
    "merge": 3,
    "merge old": 1,
    "merge kept": 2,
    "delete": 3,
    "delete add": 2,
    "add": 2,
    "bulk update": 4,
    "bulk delete": 2,
    "bulk all": 1,
    "bulk mappings": 2,
    "bulk list": 2,
    "bulk save": 1,
    "core update": 3,
    "core connection": 2,
    "core delete": 1,
    "text": 3,
    "text delete": 1,
    "cte": 2,
    "returning": 2,
    "upsert update": 3,
    "upsert nothing": 1,
    "touch": 1,
    "second write": 4,
    "second delete": 1,
    "second merge": 2,
    "second bulk": 1,
    "raw write": 2,
}
CREATES = {
    "add": 8,
    "merge": 4,
    "upsert update": 5,
    "upsert nothing": 2,
    "bulk insert": 2,
    "core insert": 3,
    "second merge": 2,
    "second add": 2,
    "second bulk": 2,
    "raw write": 1,
    "bulk update": 1,
    "core delete": 1,
    "set text": 2,
    "set num": 2,
}
PARTS = {
    "part add": 5,
    "part set": 4,
    "part delete": 4,
    "part remove": 3,
    "part foreign": 3,
    "part unlink": 2,
    "part replaced": 2,
    "second part": 2,
}
MOVES = {
    "flush": 6,
    "commit": 4,
    "rollback": 4,
    "query": 2,
    "expire": 2,
    "expire all": 1,
    "refresh": 3,
    "expunge": 1,
    "again": 3,
    "again fresh": 2,
    "again locked": 1,
    "other add": 3,
    "other core": 1,
    "other sibling": 1,
    "second read": 2,
    "second target": 1,
    "second other": 2,
    "raw read": 1,
    "raw other": 1,
    "mistake": 2,
    "raise": 1,
    "listen": 6,
}
BLOCKS = {
    "try SQLAlchemyError": 5,
    "try Exception": 3,
    "try SQLAlchemyError rollback": 3,
    "savepoint commit": 3,
    "savepoint rollback": 2,
    "no_autoflush": 1,
}
RIVALS = {
    "rival put": 8,
    "rival fresh": 2,
    "rival star": 1,
    "rival delete": 3,
    "rival plain": 2,
    "rival plain delete": 1,
    "rival sibling": 1,
}
MOMENTS = [
    "before_flush",
    "after_flush",
    "after_flush_postexec",
    "before_commit",
    "after_commit",
    "before_update",
    "after_update",
    "before_delete",
    "after_insert",
]
ACTS = {"read": 4, "log": 2, "stamp": 4, "touch": 2, "core": 2, "other": 2, "rival": 3}
STAMPS = {"before_flush", "after_flush_postexec", "before_commit", "before_update"}
TOUCHES = {"before_flush", "after_flush", "before_update", "after_update", "after_insert"}


def compose(random: Random, world: World) -> Trial:
    """Make a trial up."""
    name = random.choice(world.kinds)
    kind = KINDS[name]
    weights = {
        "tag": 12,
        "star": 2,
        "create": 3,
        "unprotected": 1,
        "reading": 1,
        "get": 1,
        "batch": 2,
        "nested": 1,
        "insist": 3 if kind.can_be_replayed else 0,
    }
    form = _one(random, weights)
    has_rivals = world.database.has_rivals and random.random() < 0.65
    steps = _steps(random, kind, form, random.choice([1, 1, 2, 2, 3, 3, 4, 5, 7]), depth=0)
    if has_rivals:
        if random.random() < 0.3:
            steps.insert(0, random.choice(["rollback", "commit", "rollback", "again", "second read"]))
        for _ in range(1 if random.random() < 0.9 else 2):
            _insert(random, steps, _rival(random, kind, form))
        if form == "batch" and random.random() < 0.7:
            _insert(random, steps, "rival sibling")
        if world.database.dialect == "sqlite" and random.random() < 0.08:
            _insert(random, steps, "rival reads")
    if form == "batch":
        _insert(random, steps, "other sibling")
    if world.database.dialect != "sqlite" and random.random() < 0.04:
        steps.insert(random.randrange(len(steps) + 1), {"try SQLAlchemyError": ["die"]})
    committing = random.random()
    if committing < 0.72:
        steps.append("commit")
    early = ""
    if has_rivals and form == "tag" and random.random() < 0.06:
        early = random.choice(["before", "loader"])
    elif form in ("tag", "star") and random.random() < 0.05:
        early = "unsent"
    # A loader has no side effects, says the contract; here something is there that would not survive them.
    is_at_stake = form in ("create", "nested", "insist") or early == "unsent"
    loaders = [each for each in LOADERS if not is_at_stake or each not in ("committing", "rolling", "expired")]
    return Trial(
        database=world.database.name,
        kind=name,
        form=form,
        steps=steps,
        loader="get" if random.random() < 0.55 else random.choice(loaders),
        ending="200" if random.random() < 0.7 else random.choice(ENDINGS),
        method=_one(random, {"PUT": 17, "PATCH": 1, "DELETE": 2}) if form != "create" else "PUT",
        later=committing > 0.72 and random.random() < 0.75,
        expire=random.random() < 0.85,
        early=early,
    )


def _steps(random: Random, kind: Kind, form: str, count: int, depth: int) -> list[Step]:
    writes = dict(CREATES if form == "create" else WRITES)
    if kind.parts and form != "create":
        writes = {**writes, **{name: 3 * weight for name, weight in PARTS.items()}}
    steps: list[Step] = []
    for _ in range(count):
        chance = random.random()
        if chance < 0.5:
            steps.append(_one(random, writes))
        elif chance < 0.8 or depth > 1:
            move = _one(random, MOVES)
            steps.append(_listener(random) if move == "listen" else move)
        else:
            inner = _steps(random, kind, form, random.choice([1, 1, 2, 3]), depth + 1)
            steps.append({_one(random, BLOCKS): inner})
    return steps


def _listener(random: Random) -> str:
    act = _one(random, ACTS)
    fitting = {"stamp": STAMPS, "touch": TOUCHES}.get(act, MOMENTS)
    moments = [moment for moment in MOMENTS if moment in fitting]
    return f"listen {random.choice(moments)} {act}"


def _rival(random: Random, kind: Kind, form: str) -> str:
    if form == "create":
        return random.choice(["rival create", "rival create", "rival plain"])
    if kind.parts and random.random() < 0.5:
        return "rival put part"
    return _one(random, RIVALS)


def _insert(random: Random, steps: list[Step], step: Step) -> None:
    """Insert a step anywhere, also into what holds others."""
    places: list[tuple[list[Step], int]] = []

    def collect(into: list[Step]) -> None:
        places.extend((into, number) for number in range(len(into) + 1))
        for each in into:
            if isinstance(each, dict):
                for inner in each.values():
                    collect(inner)

    collect(steps)
    into, number = random.choice(places)
    into.insert(number, step)


def _one(random: Random, weights: dict[str, int]) -> str:
    names: Sequence[str] = list(weights)
    return random.choices(names, list(weights.values()))[0]


__all__ = ["FORMS", "compose"]
