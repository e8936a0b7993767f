"""How dates are written where a page does not say it: ISO 8601, as everywhere else in AOB."""
