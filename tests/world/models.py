"""The models of the tests, on one base: notes have a version, papers have none."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import ForeignKey, Numeric, String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from flask_etag.sqlalchemy import Versioned, covers


class Base(DeclarativeBase):
    pass


class Note(Versioned, Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str] = mapped_column(String(200))
    shelf_id: Mapped[int | None] = mapped_column(ForeignKey("shelf.id"))


class Shelf(Base):
    """Something that holds notes, of which these do not know in Python."""

    __tablename__ = "shelf"

    id: Mapped[int] = mapped_column(primary_key=True)
    notes: Mapped[list[Note]] = relationship(cascade="all, delete-orphan")


class Comment(Base):
    """What a view writes beside its target."""

    __tablename__ = "comment"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str] = mapped_column(String(200), unique=True)


class Paper(Base):
    """What has no version, but a number that a view may count by hand."""

    __tablename__ = "paper"

    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    body: Mapped[str] = mapped_column(String(200))
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2), default=Decimal(0))
    made_at: Mapped[datetime] = mapped_column(server_default=func.current_timestamp())
    revision: Mapped[int] = mapped_column(default=1)
    remarks: Mapped[list[Remark]] = relationship(cascade="all, delete-orphan")


class Remark(Base):
    """What belongs to a paper, and is not covered by it."""

    __tablename__ = "remark"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(200))
    paper_name: Mapped[str] = mapped_column(ForeignKey("paper.name"))


class Memo(Base):
    """What has no version, and a number for its key."""

    __tablename__ = "memo"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80), default="first")


class Order(Versioned, Base):
    __tablename__ = "order_"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), default="")
    lines: Mapped[list[Line]] = relationship(
        back_populates="order", cascade="all, delete-orphan", order_by="Line.id"
    )


class Line(Base):
    __tablename__ = "line"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(80), default="")
    order_id: Mapped[int] = mapped_column(ForeignKey("order_.id"))
    order: Mapped[Order] = relationship(back_populates="lines")
    parts: Mapped[list[Part]] = relationship(cascade="all, delete-orphan")


class Part(Base):
    __tablename__ = "part"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(80), default="")
    line_id: Mapped[int] = mapped_column(ForeignKey("line.id"))


covers(Order.lines)
