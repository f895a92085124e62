"""Runs variants for tests, benchmarks and the suite: hosts, fault injection, a browser."""
