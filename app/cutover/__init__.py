"""What all processes share of a cutover: its stages, and what stands of it in schema `botdata` of the target.

The bot's side (routing, mirrors, comparisons) is in app.data_layer; the tables are made by app.migration.tool_schema.
"""
