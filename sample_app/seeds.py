"""The first start: tables, and products to play with."""

from __future__ import annotations

import json
from importlib.resources import files

from flask import current_app
from sqlalchemy import StaticPool, select
from sqlalchemy.orm import Session

from sample_app.history import keep_state
from sample_app.models import Base, Product, ProductState
from sample_app.schemas import products_schema

_LOCKS = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "SELECT pg_advisory_xact_lock(2911010604)",
    "mysql": "SELECT GET_LOCK('sample_app', 60)",
    "mariadb": "SELECT GET_LOCK('sample_app', 60)",
}
"""What has all processes that start at once wait for one another, until the transaction or the connection ends."""


def prepare_database() -> None:
    """Make the tables that are missing, and fill an empty store; once, even if several processes start."""
    engine = current_app.extensions["sqlalchemy"].engine
    with engine.connect() as connection:
        connection.exec_driver_sql(_LOCKS[engine.dialect.name])
        Base.metadata.create_all(connection)
        with Session(connection) as session:
            if session.scalar(select(Product.sku).limit(1)) is None:
                products = json.loads(files("sample_app").joinpath("products.json").read_text("utf-8"))
                session.add_all(Product(**product) for product in products_schema.load(products))
                session.flush()
            if session.scalar(select(ProductState.id).limit(1)) is None:  # a store from before it had a history
                for product in session.scalars(select(Product)):
                    keep_state(connection, product)
            session.commit()
        connection.commit()
    if not isinstance(engine.pool, StaticPool):  # which is a database in memory
        engine.dispose()  # a server that forks after this must not share the connection among its workers
