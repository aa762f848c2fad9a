"""The base of every form, and how its keys are declared: each with a description."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema


def key(description: str, default: Any = None, *, sample: Any = None, alias: str | None = None) -> Any:
    """An optional key. The sample is shown by editors and in messages."""
    return Field(default, description=description, examples=[sample] if sample else None, alias=alias)


def needed(description: str, *, sample: Any = None, alias: str | None = None) -> Any:
    """A key that must be there."""
    return Field(description=description, examples=[sample] if sample else None, alias=alias)


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FalseForNone:
    """Beside a validator that turns `false` into None: editors are told of `false` instead of `null`."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        schema["anyOf"] = [{"const": False} if part == {"type": "null"} else part for part in schema["anyOf"]]
        return schema


class WithoutNull:
    """For a key whose default is None, which cannot be written: editors are not told of `null`."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        parts = [part for part in schema.pop("anyOf") if part != {"type": "null"}]
        return schema | (parts[0] if len(parts) == 1 else {"anyOf": parts})
