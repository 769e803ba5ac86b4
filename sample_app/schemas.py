"""What products look like outside, and what is accepted as one."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from marshmallow import Schema, ValidationError, fields, pre_load, validate

_LARGEST_INTEGER = 2**31 - 1


def _storable(text: str) -> None:
    """Refuse what some databases cannot keep: the NUL character, and half of a surrogate pair."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValidationError("Has a character that cannot be stored.")


class ProductSchema(Schema):
    """A product, by the names of its members. ``sku`` and ``updated_at`` may be sent back, and are ignored."""

    sku = fields.String(dump_only=True)
    name = fields.String(required=True, validate=[validate.Length(1, 200), _storable])
    description = fields.String(required=True, validate=[validate.Length(max=20_000), _storable])
    price = fields.Decimal(
        places=2, as_string=True, required=True, validate=validate.Range(Decimal(0), Decimal("99999999.99"))
    )
    stock = fields.Integer(strict=True, required=True, validate=validate.Range(0, _LARGEST_INTEGER))
    updated_at = fields.AwareDateTime(dump_only=True)

    @pre_load
    def _ignore_what_is_not_the_callers(self, product: Any, **_: Any) -> Any:
        if not isinstance(product, Mapping):
            return product
        return {member: value for member, value in product.items() if member not in self.dump_fields_only}

    @property
    def dump_fields_only(self) -> set[str]:
        """The members that are the store's own to set."""
        return {name for name, field in self.fields.items() if field.dump_only}


product_schema = ProductSchema()
