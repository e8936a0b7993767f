"""Measurements on this machine; `make bench` prints a table for docs/benchmarks.md."""
