"""Logs recorded by each release, which every later release must replay (law 3, invariant I6)."""
