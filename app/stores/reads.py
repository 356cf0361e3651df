"""The reading methods of the two stores, described once: what the shadow reads go by."""

UPCOMING_AT_MOST = 10  # bookings that `get_upcoming_appointments` gives
# By method, the tables that it reads; that of its rows comes first.
TABLES_READ: dict[str, tuple[str, ...]] = {
    "get_dialog_context": ("dialog_contexts",),
    "get_client_by_phone": ("clients",),
    "get_client_by_id": ("clients",),
    "search_clients_by_name": ("clients",),
    "get_client_appointments": ("bookings",),
    "get_upcoming_appointments": ("bookings", "companies"),
    "get_staff_by_id": ("staff",),
    "get_staff": ("staff",),
    "get_staff_schedules": ("staff_schedules", "staff"),
    "get_staff_schedule": ("staff_schedules", "staff"),
    "get_services": ("services",),
    "get_services_by_category": ("services",),
    "get_service_by_id": ("services",),
    "get_company": ("companies",),
}
