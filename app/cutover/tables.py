"""Which tables move with the stage, and which have an authority of their own."""

from app.models import Base, Booking, Client, Company, DialogContext, Service, Staff, StaffSchedule

# Those that the data layer's methods write.
METHODS_TABLES = frozenset(model.__tablename__ for model in (Client, Company, DialogContext, Service, StaffSchedule))
# Those of the others that the methods read, from the store of the stage.
READ_TABLES = frozenset(model.__tablename__ for model in (Booking, Staff))
BUSINESS_TABLES = tuple(table.name for table in Base.metadata.sorted_tables if table.info["group"] == "business")
# Those that no method of the data layer writes: other programs do, so each has an authority of its own.
OWN_AUTHORITY = tuple(sorted(set(BUSINESS_TABLES) - METHODS_TABLES))
