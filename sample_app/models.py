"""What the store keeps."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import DateTime, Dialect, Numeric, String, Text, TypeDecorator, select
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from flask_etag.sqlalchemy import Versioned


class Base(DeclarativeBase):
    """The base of the store's models."""


# A body that is dumped after the commit would show the next writer's state if the commit had expired it.
db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})


class UTCDateTime(TypeDecorator[datetime]):
    """A point in time, in UTC, on databases with time zones and without."""

    impl = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Keep the UTC time without its zone."""
        del dialect
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Put the zone back."""
        del dialect
        return None if value is None else value.replace(tzinfo=UTC)


def _now() -> datetime:
    return datetime.now(UTC)


class Product(Versioned, Base):
    """Something for sale."""

    __tablename__ = "product"

    sku: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text)
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    stock: Mapped[int]
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=_now, onupdate=_now)


def prepare_database() -> None:
    """Make the tables that are missing, and fill an empty store; once, even if several processes start."""
    with db.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # whoever comes second waits, and finds it done
        Base.metadata.create_all(connection)
        with Session(connection) as session:
            if session.scalar(select(Product.sku).limit(1)) is None:
                products = json.loads(files("sample_app").joinpath("products.json").read_text("utf-8"))
                session.add_all(Product(**{**product, "price": Decimal(product["price"])}) for product in products)
            session.commit()
        connection.commit()
