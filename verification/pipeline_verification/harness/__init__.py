"""Runs variants for tests, benchmarks and the suite: processes, hosts, faults, a browser."""
