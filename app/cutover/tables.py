"""Which tables move with the stage, and which have an authority of their own."""

from __future__ import annotations

from app.models import Booking, Client, Company, DialogContext, Service, Staff, StaffSchedule

# Those that the data layer's methods write. Of the others each has an authority of its own, in botdata.table_authority.
METHODS_TABLES = frozenset(model.__tablename__ for model in (Client, Company, DialogContext, Service, StaffSchedule))
# Those of the others that the methods read, from the store of the stage.
READ_TABLES = frozenset(model.__tablename__ for model in (Booking, Staff))
