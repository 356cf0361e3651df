"""The earlier schema "Phase 0.8", which some targets were prepared for: how it is told, and what belongs to it.

Its tables have the names of the present ones and other columns, so that no upgrade leads from it to the present.
"""

from collections.abc import Mapping

from app.migration.preflight.schemas.catalog import CatalogTable

NAME = "Phase 0.8"

# Tables of its own, whose names the present schema does not use. Partitions of `messages` are found in the catalog.
TABLES = frozenset(
    {
        "appointments_cache",
        "bookings",
        "clients",
        "companies",
        "dialog_contexts",
        "messages",
        "reminders",
        "services",
        "staff",
        "staff_schedules",
        "sync_status",
    }
)

# Functions without those of the WhatsApp session tables, by name and the types of their arguments.
FUNCTIONS = frozenset(
    {
        ("cleanup_expired_appointments_cache", ""),
        ("cleanup_expired_dialog_contexts", ""),
        ("create_messages_partition", "date"),
        ("get_database_stats", ""),
        ("get_messages_stats", ""),
        ("get_recent_messages", "character varying, integer, integer"),
        ("maintain_messages_partitions", ""),
        ("update_updated_at_column", ""),
    }
)

# Present name (table, column) to its name in Phase 0.8.
RENAMED = {
    ("companies", "title"): "name",
    ("companies", "company_id"): "yclients_company_id",
    ("clients", "yclients_id"): "yclients_client_id",
    ("clients", "visit_count"): "visits_count",
    ("clients", "notes"): "comment",
    ("services", "yclients_id"): "yclients_service_id",
    ("services", "category_title"): "category_name",
    ("staff", "yclients_id"): "yclients_staff_id",
    ("staff_schedules", "work_start"): "start_time",
    ("staff_schedules", "work_end"): "end_time",
    ("bookings", "yclients_record_id"): "yclients_booking_id",
    ("dialog_contexts", "user_id"): "phone",
    ("dialog_contexts", "data"): "context",
    ("messages", "client_phone"): "phone",
}

_FEWEST = 5  # renamed columns that tell the schema; two others with as many in common are unlikely


def recognise(tables: Mapping[str, CatalogTable]) -> bool:
    """Whether these tables are Phase 0.8's: several columns have its names and not the present ones."""
    told = [
        (table, old)
        for (table, present), old in RENAMED.items()
        if table in tables and old in tables[table].columns and present not in tables[table].columns
    ]
    return ("companies", "yclients_company_id") in told and len(told) >= _FEWEST
