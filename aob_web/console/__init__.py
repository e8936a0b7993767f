"""The operator's console at /admin/: everything can be looked at, and what can be done goes through the services."""
