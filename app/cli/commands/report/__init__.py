"""The command `botdata report`."""
