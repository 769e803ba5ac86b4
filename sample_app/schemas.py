"""What products and documents look like outside, and what is accepted as one."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, pre_load, validate

_MOST_CHANGES = 100
_LARGEST_INTEGER = 2**31 - 1
_LONGEST_KEY = 40
_is_price = re.compile(r"(0|[1-9][0-9]{0,7})(\.[0-9]{1,2})?").fullmatch

# What the OpenAPI document says besides of members that functions read.
KEY = {
    "minLength": 1,
    "maxLength": _LONGEST_KEY,
    "pattern": "^[^ ./][^/]*$",
    "description": "Printable characters, without a slash, and without a blank or a full stop at its ends.",
}
_PRICE = {"type": "string", "pattern": r"^(0|[1-9][0-9]{0,7})(\.[0-9]{1,2})?$", "examples": ["9.99"]}
_ETAG = "The ETag that the product was read with, quotes included."


def is_key(text: str) -> bool:
    """Tell whether a text can be the last segment of a URL, and on any database a key of its own."""
    return (
        0 < len(text) <= _LONGEST_KEY
        and text.isprintable()
        and text == text.strip(" .")
        and not {"/", "\N{REPLACEMENT CHARACTER}"} & set(text)  # the latter is what a URL's wrong UTF-8 becomes
    )


def _key(text: str) -> None:
    if not is_key(text):
        raise ValidationError(
            f"Has to be 1 to {_LONGEST_KEY} printable characters, without a slash, and without a blank or a full "
            "stop at its ends."
        )


def _storable(text: str) -> None:
    """Refuse what some databases cannot keep: the NUL character, and half of a surrogate pair."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValidationError("Has a character that cannot be stored.")


def _price(text: Any) -> Decimal:
    """Read an amount of money; a JSON number is none, since it would have come by way of binary fractions."""
    if not isinstance(text, str) or not _is_price(text):
        raise ValidationError('Has to be a text like "9.99": up to 8 digits, and up to 2 after the point.')
    return Decimal(text)


class ProductSchema(Schema):
    """A product, by the names of its members. ``updated_at`` may be sent back, and is ignored."""

    sku = fields.String(required=True, validate=_key, metadata=KEY)
    name = fields.String(required=True, validate=[validate.Length(1, 200), _storable])
    description = fields.String(required=True, validate=[validate.Length(max=20_000), _storable])
    price = fields.Function(lambda product: f"{product.price:.2f}", _price, required=True, metadata=_PRICE)
    stock = fields.Integer(strict=True, required=True, validate=validate.Range(0, _LARGEST_INTEGER))
    updated_at = fields.AwareDateTime(dump_only=True)

    @pre_load
    def _ignore_updated_at(self, members: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {name: value for name, value in members.items() if name != "updated_at"}


class ChangeSchema(ProductSchema):
    """One of several changes: the sku, the ETag that the product was read with, and the members to replace."""

    etag = fields.Raw(load_default=None, metadata={"type": "string", "description": _ETAG})


class DocumentSchema(Schema):
    """A document, by the names of its members: all of them, so that the hash of these tells its state."""

    name = fields.String(required=True, validate=_key, metadata=KEY)
    body = fields.String(required=True, validate=_storable)
    edits = fields.Integer(strict=True, required=True, validate=validate.Range(0, _LARGEST_INTEGER))


class ListingSchema(Schema):
    """What may be asked of the collection, by the URL's query."""

    page = fields.Integer(load_default=1, validate=validate.Range(1, 1_000_000))
    per_page = fields.Integer(load_default=50, validate=validate.Range(1, 100))
    sort = fields.String(
        load_default="sku", validate=validate.OneOf(["sku", "name", "price", "stock", "updated_at"])
    )
    q = fields.String(load_default="", validate=_storable)

    class Meta:
        """What else the query has is none of our business."""

        unknown = EXCLUDE


listing_schema = ListingSchema()
product_schema = ProductSchema()
_changes_schema = ChangeSchema(many=True, partial=["name", "description", "price", "stock"])
products_schema = ProductSchema(many=True)
document_schema = DocumentSchema()


def load_changes(changes: list[Any]) -> list[dict[str, Any]]:
    """Load what a request wants changed.

    :raises ValidationError: if something of it is wrong, or it names a product twice.
    """
    loaded: list[dict[str, Any]] = _changes_schema.load(changes)
    if len(loaded) > _MOST_CHANGES:
        raise ValidationError(f"Takes {_MOST_CHANGES} changes at most.")
    if len({change["sku"] for change in loaded}) < len(loaded):
        raise ValidationError("Has to name each product by its sku, and once.")
    return loaded
