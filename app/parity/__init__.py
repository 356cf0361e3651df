"""Parity: the 21 methods asked of both live stores, and their answers compared."""
