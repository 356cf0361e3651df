"""The questions of the inventory, which are put to both ends: one for each kind of item."""
