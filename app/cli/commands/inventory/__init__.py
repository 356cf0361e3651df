"""The command `botdata inventory`, and its report."""
