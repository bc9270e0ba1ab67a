"""Tenants, their teams, the teams' users, and the users' keys: tables, scopes and what may be done with them."""
