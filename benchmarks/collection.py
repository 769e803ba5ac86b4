"""What a 304 of a page costs, of its 200, where the collection has 100,000 rows: the sample app's products.

python -m benchmarks.collection
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from secrets import token_hex
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from flask import Flask
from sqlalchemy import insert, text
from werkzeug.test import EnvironBuilder, run_wsgi_app

from sample_app import create_app
from sample_app.models import Product, session
from tests.servers import postgresql

ROWS = 100_000
PAGE = 50
TURN = 10  # requests of one kind in a row
QUERIES = {"the first page": ("page=1", 30), "the last page": (f"page={ROWS // PAGE}", 2)}  # and how many turns


@contextmanager
def shops() -> Iterator[dict[str, Flask]]:
    """Yield the sample app on each database, with so many products."""
    with TemporaryDirectory() as folder, postgresql.running() as url:
        urls = {"SQLite": f"sqlite:///{Path(folder) / 'store.db'}", "PostgreSQL": url}
        apps = {name: create_app({"SQLALCHEMY_DATABASE_URI": url}) for name, url in urls.items()}
        for app in apps.values():
            with app.app_context():
                session().execute(insert(Product), [product(number) for number in range(ROWS)])
                session().execute(text("ANALYZE"))
                session().commit()
        yield apps
        for app in apps.values():
            with app.app_context():
                app.extensions["sqlalchemy"].engine.dispose()


def product(number: int) -> dict[str, object]:
    return {
        "sku": f"{number:06}",
        "name": f"Number {number}",
        "description": "A description of some length. " * 35,
        "price": Decimal("9.99"),
        "stock": number,
        "updated_at": datetime.now(UTC),
        "version": token_hex(16),
    }


def compared(app: Flask, query: str, turns: int) -> tuple[float, float]:
    """Return the seconds that a 200 takes, and a 304: the medians of many, sent in turns."""
    path = f"/api/products?per_page={PAGE}&{query}"
    etag = app.test_client().get(path).headers["ETag"]

    def turn(expected: str, headers: dict[str, str]) -> Iterator[float]:
        for _ in range(TURN):
            environ = EnvironBuilder(path, headers=list(headers.items())).get_environ()
            start = perf_counter()
            body, status, _ = run_wsgi_app(app, environ, buffered=True)
            b"".join(body)
            yield perf_counter() - start
            if status != expected:
                raise RuntimeError(f"{path} was answered {status} in the place of {expected}.")

    full: list[float] = []
    unchanged: list[float] = []
    for _ in range(turns):
        full += turn("200 OK", {})
        unchanged += turn("304 NOT MODIFIED", {"If-None-Match": etag})
    return median(full), median(unchanged)


def main() -> None:
    print(f"| {ROWS:,} rows, {PAGE} on a page | 200, ms | 304, ms | 304 of 200 |")
    print("|---|---|---|---|")
    with shops() as apps:
        for name, app in apps.items():
            for what, (query, turns) in QUERIES.items():
                full, unchanged = compared(app, query, turns)
                print(
                    f"| {name}, {what} | {full * 1000:.2f} | {unchanged * 1000:.2f} | {unchanged / full:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
