"""A base that knows no model, since the module that holds them is not imported."""

from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    pass
