"""The command `botdata rehearse`."""
