"""Send hostile header values through an application, and look for one that gets past: run it with ``make fuzz``.

Each value is sent by GET and by PUT, alone or beside others, as WSGI hands bytes over: one character for each. No
answer may be a 5xx, no exception may come out, and no PUT may be let through but by an If-Match that names the
current tag, as another reader of the field understands it (``tests.unit.oracle``). The same seed and count send
the same values.
"""

from __future__ import annotations

import os
import re
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any
from wsgiref.types import StartResponse

from flask import Flask
from werkzeug.test import create_environ

from flask_etag import ETag, etag_resource, require_if_match, resource, version_column
from tests.unit import oracle

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

CHUNK = 5_000  # header values, which one process sends to one application

TAG_FIELDS = ("If-Match", "If-None-Match")
DATE_FIELDS = ("If-Modified-Since", "If-Unmodified-Since")
FIELDS = (*TAG_FIELDS, *DATE_FIELDS, "If-Range", "Range")

THEN = datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)
DATES = [date for second in (57, 58, 59) for date in oracle.written(THEN.replace(second=second))]
BITS = [
    '"',
    "W/",
    "w/",
    "*",
    ",",
    " ",
    "\t",
    "\\",
    "\r\n",
    "\0",
    "\x7f",
    "\x80",
    "\xff",
    "GMT",
    "-gzip",
    ":gzip",
    "bytes=0-",
]
VARIANT = r"(\.[A-Za-z0-9_-]{32})?"


class Letters:
    """An application with two letters: one says its own tag; the other's is a digest, with a variant."""

    def __init__(self, **config: Any) -> None:
        self.revision = 1
        self.app = Flask("letters")
        self.app.testing = True
        self.app.config.update(config)
        ETag(self.app)

        @resource(etag=lambda letters: f"v{letters.revision}", last_modified=lambda _: THEN, lock=nullcontext)
        def find_plain() -> Letters:
            return self

        @resource(
            etag=version_column("revision"), variant=lambda _: "de", last_modified=lambda _: THEN, lock=nullcontext
        )
        def find_digest() -> Letters:
            return self

        def read(_: Letters) -> str:
            return "letter"

        def replace(_: Letters) -> str:
            self.revision += 1
            return "replaced"

        for path, found in {"plain": find_plain, "digest": find_digest}.items():
            self.app.add_url_rule(f"/{path}", f"read {path}", etag_resource(found)(read), methods=["GET"])
            self.app.add_url_rule(f"/{path}", f"write {path}", require_if_match(found)(replace), methods=["PUT"])
        self._environ = create_environ()
        self._etags: dict[tuple[str, int], str] = {}

    def etag(self, path: str) -> str:
        """Return the current tag."""
        if (path, self.revision) not in self._etags:
            self._etags[path, self.revision] = self.send("GET", path, {})[1]
        return self._etags[path, self.revision]

    def send(self, method: str, path: str, fields: dict[str, str]) -> tuple[int, str]:
        """Return the status and the ETag of an answer."""
        environ: WSGIEnvironment = {**self._environ, "REQUEST_METHOD": method, "PATH_INFO": path}
        for name, value in fields.items():
            environ["HTTP_" + name.upper().replace("-", "_")] = value
        told: list[tuple[str, dict[str, str]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
            told.append((status, dict(headers)))

        start: StartResponse = start_response
        body = self.app.wsgi_app(environ, start)
        list(body)
        getattr(body, "close", list)()
        [(status, headers)] = told
        return int(status[:3]), headers.get("ETag", "")


class Generator:
    """What makes header values, of which some are good, most are nearly good, and some are anything.

    :param seed: the same seed makes the same values.
    """

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)  # noqa: S311 - it has to repeat itself

    def fields(self, current: str) -> dict[str, str]:
        """Make between one and three fields.

        :param current: the tag that is current.
        """
        names = self._random.choices((*FIELDS, "If-Match", "If-Match"), k=self._random.choice((1, 1, 1, 2, 3)))
        return {name: self._value(name, current) for name in names}

    def _value(self, name: str, current: str) -> str:
        shape = self._random.random()
        if shape < 0.15:
            return "".join(map(chr, self._random.randbytes(self._random.randrange(60))))
        good = self._good(name, current)
        if shape < 0.35:
            return good
        if shape < 0.36:
            return self._huge(good)
        for _ in range(self._random.randint(1, 3)):
            good = self._mutated(good)
        return good

    def _good(self, name: str, current: str) -> str:
        if name in DATE_FIELDS or (name == "If-Range" and self._random.random() < 0.5):
            return self._random.choice(DATES)
        if name == "Range":
            return f"bytes={self._random.randrange(9)}-{self._random.randrange(99)}"
        opaque = current.strip('"')
        tags = [
            "*",
            current,
            current,
            f"W/{current}",
            f'"{opaque}-gzip"',
            f'"{opaque[:32]}"',
            '""',
            '"v0"',
            f'"{opaque}x"',
        ]
        return ", ".join(self._random.choices(tags, k=self._random.choice((1, 1, 2, 4))))

    def _mutated(self, value: str) -> str:
        start = self._random.randint(0, len(value))
        end = min(len(value), start + self._random.choice((0, 0, 1, 2, 9)))
        put_in = self._random.choice(
            (self._random.choice(BITS), chr(self._random.randrange(256)), value[start:end] * 2, "")
        )
        return value[:start] + put_in + value[end:]

    def _huge(self, value: str) -> str:
        unit = self._random.choice((value + ",", *BITS))
        length = self._random.choice((oracle.LONGEST, oracle.LONGEST + 1, 9_000, 100_000))
        return (value * self._random.randint(0, 1) + unit * length)[:length]


def check(letters: Letters, path: str, fields: dict[str, str], current: str) -> list[int]:
    """Send the fields by both methods, and return what was answered.

    :raises AssertionError: if that is wrong.
    """
    strictly = not letters.app.config.get("ETAG_ACCEPT_WEAKENED")
    statuses = []
    for method in ("GET", "PUT"):
        revision = letters.revision
        status, _ = letters.send(method, path, fields)
        assert status in {"GET": (200, 304, 412), "PUT": (200, 412, 428)}[method], f"{method} answered {status}"
        was_written = letters.revision != revision
        assert was_written == (method == "PUT" and status == 200), f"{method} answered {status} and {was_written=}"
        assert not was_written or may_write(fields.get("If-Match"), current, strictly=strictly), "a write got past"
        is_told = status != 428
        if path == "/plain" and is_told and strictly:
            expected = oracle.respond(method, fields, oracle.Current((False, current.strip('"')), THEN))
            assert expected == (status if status in (304, 412) else "perform"), f"{method} answered {status}"
        statuses.append(status)
    return statuses


def may_write(field: str | None, current: str, *, strictly: bool) -> bool:
    """Tell whether an If-Match names the current tag, or its state in any variant.

    :param strictly: whether a tag that was marked weak, or has a suffix, is another one.
    """
    tags = oracle.read_tags(field) if field is not None else None
    if tags is None or tags == "*":
        return tags == "*"
    state = current.strip('"')[:32]
    if strictly:
        return any(not weak and re.fullmatch(re.escape(state) + VARIANT, opaque) for weak, opaque in tags)
    return any(opaque.startswith(state) for _, opaque in tags)


def fuzz(seed: str, count: int) -> Counter[str]:
    """Send so many values, and count what was answered; what was wrong is told with the values.

    :raises AssertionError: if an answer is wrong, or there is none.
    """
    generator, answers, sent = Generator(seed), Counter[str](), 0
    both = [Letters(), Letters(ETAG_ACCEPT_WEAKENED=True)]
    while sent < count:
        letters, path = both[sent % 2], ("/plain", "/digest")[sent // 2 % 2]
        current = letters.etag(path)
        fields = generator.fields(current)
        sent += len(fields)
        try:
            statuses = check(letters, path, fields, current)
        except Exception as error:
            raise AssertionError(f"seed {seed}, {path}, current {current}, {fields!r}: {error!r}") from error
        answers.update({"values": len(fields), f"GET {statuses[0]}": 1, f"PUT {statuses[1]}": 1})
    return answers


def main(arguments: Iterable[str]) -> None:
    parser = ArgumentParser(prog="make fuzz", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--count", type=int, default=1_000_000, help="header values (1,000,000)")
    parser.add_argument("--seed", type=int, default=1, help="another seed makes other values (1)")
    asked = parser.parse_args(list(arguments))
    began = time.monotonic()
    sizes = [min(CHUNK, asked.count - start) for start in range(0, asked.count, CHUNK)]
    seeds = [f"{asked.seed}.{chunk}" for chunk in range(len(sizes))]
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        answers = sum(processes.map(fuzz, seeds, sizes), Counter[str]())
    values = answers.pop("values")
    lines = [
        f"{values:,} header values, seed {asked.seed}, in {time.monotonic() - began:.0f} s; nothing got past:"
    ]
    lines += [f"{answers[answer]:>9,}  {answer}" for answer in sorted(answers)]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
