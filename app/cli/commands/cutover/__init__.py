"""The commands `botdata cutover ...` and `botdata mirror ...`."""
