"""Make a failing trial as short as it can be, and say which findings are one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from search.models import KINDS
from search.oracle import Violation
from search.steps import Step, heads, parts
from search.trial import Trial

Fails = Callable[[Trial], bool]
TRIES, SECONDS = 150, 10.0


def shrunk(trial: Trial, fails: Fails) -> Trial:
    """Return the simplest trial that still fails."""
    left, deadline = TRIES, time.monotonic() + SECONDS
    going = True
    while going:
        going = False
        for simpler in _simpler(trial):
            if left <= 0 or time.monotonic() > deadline:
                return trial
            left -= 1
            if fails(simpler):
                trial, going = simpler, True
                break
    return trial


def _simpler(trial: Trial) -> Iterator[Trial]:
    for steps in _fewer(trial.steps):
        yield replace(trial, steps=steps)
    kinds = ["versioned", "hashed"] if KINDS[trial.kind].is_versioned else ["hashed"]
    default = Trial()
    for name in ("early", "loader", "later", "expire", "method", "ending"):
        if getattr(trial, name) != getattr(default, name):
            yield replace(trial, **{name: getattr(default, name)})
            if name == "later":
                yield replace(trial, later=False, steps=[*trial.steps, "commit"])
    if trial.form in ("star", "reading", "get", "batch", "nested"):
        yield replace(trial, form="tag")
    for kind in kinds:
        if trial.kind == kind:
            break
        yield replace(trial, kind=kind)
    for steps in _plainer(trial.steps):
        yield replace(trial, steps=steps)


def _fewer(steps: list[Step]) -> Iterator[list[Step]]:
    """Return the steps without one of them, or with what one holds in its place."""
    for number, step in enumerate(steps):
        before, after = steps[:number], steps[number + 1 :]
        yield [*before, *after]
        head, inner = parts(step)
        if inner is not None:
            yield [*before, *inner, *after]
            for fewer in _fewer(inner):
                yield [*before, {head: fewer}, *after]


PLAINER = {
    "set num": "set text",
    "set data": "set text",
    "mutate": "set text",
    "set quietly": "set num",
    "rival plain": "rival put",
    "rival fresh": "rival put",
    "rival star": "rival put",
    "rival plain delete": "rival delete",
    "rival put part": "rival put",
    "expire all": "expire",
    "part unlink": "part remove",
    "part replaced": "part set",
    "again fresh": "again",
    "again locked": "again",
    "other core": "other add",
    "other sibling": "other add",
    "try Exception": "try SQLAlchemyError",
}


def _plainer(steps: list[Step]) -> Iterator[list[Step]]:
    for number, step in enumerate(steps):
        head, inner = parts(step)
        before, after = steps[:number], steps[number + 1 :]
        if head in PLAINER:
            plainer: Step = PLAINER[head] if inner is None else {PLAINER[head]: inner}
            yield [*before, plainer, *after]
        for other in _plainer(inner or []):
            yield [*before, {head: other}, *after]


def signature(trial: Trial, violation: Violation) -> tuple[str, ...]:
    """Return what two findings have in common that are one."""
    kind = KINDS[trial.kind]
    return (
        violation.rule,
        violation.detail,
        "" if trial.form == "tag" else trial.form,
        "versioned" if kind.is_versioned else "not versioned",
        *sorted(set(heads(trial.steps)) - {"commit"}),
    )


def is_known(trial: Trial, violation: Violation, found: Trial, of: Violation) -> bool:
    """Say whether a trial has all the steps of one that was found, in their order, and fails in the same way."""
    if (violation.rule, violation.detail, trial.form) != (of.rule, of.detail, found.form):
        return False
    if KINDS[trial.kind].is_versioned != KINDS[found.kind].is_versioned:
        return False
    left = iter([_family(head) for head in heads(trial.steps)])
    return all(_family(head) in left for head in heads(found.steps))


def _family(head: str) -> str:
    return re.sub(r"^(set|mutate).*$", "set", head) if head not in ("set version", "set key", "set same") else head
