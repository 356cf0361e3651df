"""The commands `botdata pause` and `botdata resume`."""
