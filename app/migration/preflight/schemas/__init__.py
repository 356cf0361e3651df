"""Schemas by the catalog, and what stands between those of both ends and the models."""
