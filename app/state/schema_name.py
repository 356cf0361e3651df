"""What every statement of this package says for the tool's own schema; its connection puts the name there."""

from app.common.schemas import TOOL as SCHEMA

__all__ = ["SCHEMA"]
