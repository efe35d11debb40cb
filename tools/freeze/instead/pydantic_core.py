"""The compiled core alone; what pydantic_core has around it is for building schemas."""

from pydantic_core._pydantic_core import PydanticKnownError, SchemaValidator, ValidationError

__all__ = ["PydanticKnownError", "SchemaValidator", "ValidationError"]
