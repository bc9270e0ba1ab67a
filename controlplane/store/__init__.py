"""The control plane's database: how it is opened, written to, kept in shape and brought up to date.

The only folder that knows drivers. Tables live in the rooms that own them; they share one `METADATA` and one line of
migrations.
"""
