"""What the store keeps, and the session to keep it through."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from flask import current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import JSON, DateTime, Dialect, Numeric, String, Text, TypeDecorator
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from flask_etag.sqlalchemy import Versioned


class Base(DeclarativeBase):
    """The base of the store's models.

    MariaDB would take "Pot" and "pot" for one key, but for the collation; and keep a part of Unicode only.
    """

    __table_args__ = {  # noqa: RUF012
        f"{dialect}_{option}": value
        for dialect in ("mysql", "mariadb")
        for option, value in {"charset": "utf8mb4", "collate": "utf8mb4_bin"}.items()
    }


db = SQLAlchemy(model_class=Base)


def session() -> Session:
    """Return this request's session: of ``db``, or of the extension that the application had before the store."""
    scoped = current_app.extensions["sqlalchemy"].session
    session: Session = scoped() if callable(scoped) else scoped  # Flask-SQLAlchemy-Lite has the session itself
    # A body that is dumped after the commit would show the next writer's state if the commit had expired it.
    session.expire_on_commit = False
    return session


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


_LongText = Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")  # whose TEXT ends after 64 KiB


def _now() -> datetime:
    return datetime.now(UTC)


class Product(Versioned, Base):
    """Something for sale; its ETag is its version."""

    __tablename__ = "product"

    sku: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(_LongText)
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    stock: Mapped[int]
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=_now, onupdate=_now)


class ProductState(Base):
    """What a product was under one version, and who has made it so.

    :ivar content: its members; ``None`` for a deletion, which has no version either.
    """

    __tablename__ = "product_state"

    id: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(String(40), index=True)
    version: Mapped[str | None] = mapped_column(String(36))
    content: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    who: Mapped[str | None] = mapped_column(String(40))
    at: Mapped[datetime] = mapped_column(UTCDateTime, default=_now)


class Document(Base):
    """A text that people edit; it has no version, so that its ETag is the hash of its content."""

    __tablename__ = "document"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    body: Mapped[str] = mapped_column(_LongText)
    edits: Mapped[int]
