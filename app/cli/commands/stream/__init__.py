"""The commands `botdata stream ...`."""
