"""Agents: the durable loop, its tools, budgets and providers. Knows no database; imports neither Django nor `runs`."""
