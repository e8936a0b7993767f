"""The one outgoing HTTP client (law 9, hazard S15)."""
