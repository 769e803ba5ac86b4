"""The command line: ``python -m search --database sqlite --seconds 60 --seed 1``."""

from __future__ import annotations

import argparse
import faulthandler
import logging
import re
import shlex
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from search.compose import compose
from search.databases import NAMES, Database, opened
from search.known import KNOWN
from search.oracle import Evidence, Violation, judge
from search.shrink import is_known, shrunk
from search.trial import FORMS, Trial, outcomes
from search.world import World

COMPARES = ("the target is not as it would be", "other rows are not as they would be")
"""Rules that compare with the view alone: SQLAlchemy flushes two objects of one key in either order."""

MOST = 8  # findings that break one rule in one way; of more, how many is told


@dataclass
class Finding:
    """What was found, once, and how often it was met."""

    trial: Trial
    violation: Violation
    story: Sequence[str]
    times: int = 1


@dataclass
class Search:
    """What a search has done and found so far."""

    findings: list[Finding] = field(default_factory=list)
    trials: int = 0
    shrinking: float = 0.0
    answers: Counter[str] = field(default_factory=Counter)
    advice: Counter[str] = field(default_factory=Counter)
    more: Counter[str] = field(default_factory=Counter)

    def try_one(self, world: World, trial: Trial) -> None:
        """Run one trial, and keep what it finds."""
        evidence = examine(world, trial)
        self.trials += 1
        self.answers[f"{evidence.outcome.status} {evidence.outcome.reason or ''}".strip()] += 1
        for mishap in {*evidence.outcome.swallowed, evidence.outcome.error}:
            if mishap is not None and mishap.is_advice:
                self.advice[re.sub(r"\b[A-Z]\w+(?= is | on | has )", "...", mishap.text, count=1)] += 1
        for violation in judge(evidence):
            self._keep(world, trial, violation)

    def _keep(self, world: World, trial: Trial, violation: Violation) -> None:
        if self._count(trial, violation):
            return
        alike = sum(1 for finding in self.findings if finding.violation == violation)
        if alike >= MOST:
            self.more[str(violation)] += 1
            return
        if violation.rule in COMPARES and not all(violation in judge(examine(world, trial)) for _ in range(3)):
            return
        started = time.monotonic()
        small = shrunk(trial, lambda simpler: violation in judge(examine(world, simpler)))
        self.shrinking += time.monotonic() - started
        if self._count(small, violation):
            return
        story = examine(world, small).outcome.story
        self.findings.append(Finding(small, violation, story))
        print(described(self.findings[-1]), flush=True)

    def _count(self, trial: Trial, violation: Violation) -> bool:
        for finding in self.findings:
            if is_known(trial, violation, finding.trial, finding.violation):
                finding.times += 1
                return True
        return False


def examine(world: World, trial: Trial) -> Evidence:
    """Run one trial."""
    faulthandler.dump_traceback_later(120, exit=True)
    try:
        return Evidence(trial, *outcomes(world, trial))
    finally:
        faulthandler.cancel_dump_traceback_later()


def described(finding: Finding) -> str:
    """Return what is printed of a finding."""
    story = "\n".join(f"    {line}" for line in finding.story)
    replay = f"python -m search --replay {shlex.quote(finding.trial.to_json())}"
    return f"\n{finding.violation}\n  {finding.trial.database}; {finding.trial.kind}\n{story}\n  {replay}"


def search(
    databases: Sequence[Database], seconds: float, seed: int, count: int | None = None, without: Sequence[str] = ()
) -> Search:
    """Look for ways around the guard, on one database after the other, until it is interrupted."""
    found = Search()
    # Where each statement commits by itself, a sentence is all that there is to find.
    shares = [0.2 if database.is_autocommit else 1 for database in databases]
    with suppress(KeyboardInterrupt):
        for database, share in zip(databases, shares, strict=True):
            world = World(database)
            deadline = time.monotonic() + seconds * share / sum(shares)
            number = 0
            while time.monotonic() < deadline and (count is None or number < count):
                number += 1
                trial = compose(Random(f"{seed}/{database.name}/{number}"), world)
                if trial.form not in without:
                    found.try_one(world, trial)
            world.close()
    return found


def replay(text: str) -> int:
    """Run one trial, and tell its story."""
    trial = Trial.from_json(text)
    with opened([trial.database]) as (database,):
        world = World(database)
        evidence = examine(world, trial)
        world.close()
    outcome, control = evidence.outcome, evidence.control
    print(*outcome.story, sep="\n")
    for mishap in [*outcome.swallowed, *([outcome.error] if outcome.error else [])]:
        print(f"error: {mishap}")
    print(*(f"committed: {change}" for change in outcome.changes), sep="\n")
    print(f"first: {outcome.first_content} {outcome.first_etag}")
    print(f"last:  {outcome.last_content} {outcome.last_etag}")
    print(
        f"answered {outcome.status} {outcome.reason or ''} {outcome.etag}; undecorated and alone {control.status}"
    )
    print(f"undecorated and alone it leaves {control.last_content} {control.error or ''}")
    violations = judge(evidence)
    print(*(f"VIOLATION: {violation}" for violation in violations) if violations else ["ok"], sep="\n")
    return bool(violations)


def known(part: str) -> int:
    """Try what was found by hand, on the databases that it was found on."""
    trials = {name: trial for name, trial in KNOWN.items() if part in trial.database}
    broken = 0
    with opened(sorted({trial.database for trial in trials.values()})) as databases:
        for database in databases:
            world = World(database)
            for name, trial in trials.items():
                if trial.database == database.name:
                    violations = judge(examine(world, trial))
                    broken += bool(violations)
                    print(f"{name}: {'; '.join(map(str, violations)) or 'ok'}")
            world.close()
    print(f"{broken} of {len(trials)} break a promise")
    return bool(broken)


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, or replay one trial; 1 where anything was found."""
    parser = argparse.ArgumentParser(prog="python -m search", description=sys.modules["search"].__doc__)
    parser.add_argument("--database", default="", help="only those whose name has this in it")
    parser.add_argument("--seconds", type=float, default=60, help="how long, for all of them (60)")
    parser.add_argument("--seed", type=int, default=1, help="another seed tries other views (1)")
    parser.add_argument("--count", type=int, help="at most so many trials on each")
    parser.add_argument("--without", nargs="*", default=[], choices=FORMS, help="forms of requests to leave out")
    parser.add_argument("--known", action="store_true", help="try only what was found by hand")
    parser.add_argument("--replay", metavar="JSON", help="run one trial that was found, and tell its story")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    if options.known:
        return known(options.database.lower())
    if options.replay:
        return replay(options.replay)
    names = [name for name in NAMES if options.database.lower() in name]
    if not names:
        parser.error(f"--database takes a part of one of these: {'; '.join(NAMES)}")
    started = time.monotonic()
    with opened(names) as databases:
        found = search(databases, options.seconds, options.seed, options.count, options.without)
    spent = time.monotonic() - started
    print(f"\n{found.trials} trials in {spent:.0f} s, {found.shrinking:.0f} of them to make findings shorter")
    print("answers: " + ", ".join(f"{name} {times}" for name, times in found.answers.most_common()))
    for text, times in found.advice.most_common():
        print(f"advice {times} times: {text}")
    for finding in sorted(found.findings, key=lambda finding: str(finding.violation)):
        print(f"{finding.times:5} times: {finding.violation}: {finding.trial.to_json()}")
    for text, times in found.more.most_common():
        print(f"{times:5} times: {text}: otherwise, and not made shorter")
    print(f"{len(found.findings)} findings")
    return bool(found.findings)


if __name__ == "__main__":
    sys.exit(main())
