"""Server-rendered pages; htmx replaces the parts that change. Every change goes through the services."""
