"""Runs a variant for tests, benchmarks and demonstrations; production code never imports it."""
