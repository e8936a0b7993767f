"""The REST API under /api/v1: thin routers over the services; OpenAPI at /api/v1/openapi.json."""
