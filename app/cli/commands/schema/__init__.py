"""The commands `botdata schema ...`."""
