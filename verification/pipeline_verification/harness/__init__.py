"""What tests, benchmarks and the suite run variants with: processes, hosts, faults, a browser."""
