"""Brings what was written to one store to the other."""
