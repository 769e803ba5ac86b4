"""Collide clients on one resource of any application: ``python -m torture URL``."""

from __future__ import annotations

import argparse
import sys
import time

from torture.clients import Client, Plan, collide
from torture.history import State, Verdict, judge


def report(verdict: Verdict, seconds: float) -> str:
    lines = [
        f"accepted {verdict.accepted}, refused {verdict.refused}, conflicts (409) {verdict.conflicts}, "
        f"server errors {verdict.server_errors}, without an answer {verdict.unknown}; "
        f"{verdict.accepted / seconds:.0f} writes a second",
        f"accepted and lost: {verdict.lost}",
    ]
    for kind, count in verdict.kinds().items():
        example = next(problem.where for problem in verdict.problems if problem.kind == kind)
        lines.append(f"{kind}: {count}, e.g. {example}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m torture",
        description="Let clients increase a number by GET and then PUT with If-Match, and see what is lost. "
        "GET has to answer a JSON object with an integer member, and an ETag; PUT takes that object back.",
    )
    parser.add_argument("urls", nargs="+", metavar="URL", help="the resource; several, if several servers have it")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--accepted", type=int, default=2000, help="by how much to increase the number")
    parser.add_argument("--member", default="number", help="the member of the JSON object (default: number)")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE", help="sent each time")
    parser.add_argument(
        "--hang-up", type=int, default=0, metavar="PERCENT", help="of writes that are not waited for"
    )
    parser.add_argument("--seconds", type=float, default=600, help="after which to stop in any case")
    parser.add_argument("--faults", action="store_true", help="take a server error for an answer that was lost")
    given = parser.parse_args()
    headers = {name.strip(): value.strip() for name, _, value in (each.partition(":") for each in given.header)}

    def state() -> State:
        answer = Client(Plan(given.urls, 0, headers=headers), 0).send("GET", given.urls[0])
        number = answer.body.get(given.member)
        if answer.status != 200 or answer.etag is None or not isinstance(number, int):
            sys.exit(f"GET {given.urls[0]} has to answer 200, an ETag and an integer {given.member}: {answer}")
        return State(number, answer.etag)

    first = state()
    plan = Plan(
        given.urls,
        first.number + given.accepted,
        given.seconds,
        hang_up=given.hang_up,
        member=given.member,
        headers=headers,
    )
    start = time.monotonic()
    histories = collide(plan, given.clients)
    seconds = time.monotonic() - start
    operations = [operation for history in histories.values() for operation in history]
    verdict = judge(operations, first, state(), faults=given.faults)
    print(report(verdict, seconds))
    return 1 if verdict.problems else 0


if __name__ == "__main__":
    sys.exit(main())
