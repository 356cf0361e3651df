"""Names in statements that people may carry out as they are."""


def quoted(name: str) -> str:
    """A name as it stands in such a statement: in quotes where it needs them, as a reserved word does."""
    from sqlalchemy.dialects import postgresql  # heavy, and seldom needed

    return postgresql.dialect().identifier_preparer.quote(name)  # type: ignore[no-untyped-call]
