"""Models of two tables of one name, public.users and auth.users, as reflection and code generators write them."""

from sqlalchemy import BigInteger, Column, ForeignKey, Identity, MetaData, Table, Text, Uuid

Base = MetaData()
Table("users", Base, Column("id", Uuid, primary_key=True), Column("email", Text), schema="auth")
Table("users", Base, Column("id", Uuid, ForeignKey("auth.users.id"), primary_key=True), Column("full_name", Text))
Table(
    "notes",
    Base,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("owner", Uuid, ForeignKey("users.id"), nullable=False),
    Column("body", Text),
)
