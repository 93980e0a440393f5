"""A job's settings as requests give them: any part of the tree, described field by field in OpenAPI."""

from __future__ import annotations

from typing import Annotated

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from app.http.schemas import JsonObject
from star_engine.config.reference import overrides


class _Described:
    """Stands in OpenAPI as the tree with every setting optional. What is sent is validated once it is merged
    into the preset, since most rules hold between settings."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(overrides().__pydantic_core_schema__)


ConfigOverrides = Annotated[JsonObject, _Described()]
