"""Runs a variant for tests, benchmarks and demonstrations; no production run imports it."""
