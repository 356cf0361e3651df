"""Writes a package of SQLAlchemy models for the tables of a database."""
