"""The data layer: the bot's 21 methods, on Supabase or on PostgreSQL."""

from app.data_layer.layer import DataLayer, Health
from app.data_layer.result import Result
from app.data_layer.wiring import open_data_layer, open_data_layers

__all__ = ["DataLayer", "Health", "Result", "open_data_layer", "open_data_layers"]
