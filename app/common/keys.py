"""Keys of rows as the two stores give them."""

from typing import TypeAlias

# The values of a primary or a natural key as PostgreSQL's texts, in the order of its columns.
Key: TypeAlias = tuple[str, ...]
