"""One e-commerce pipeline: its steps, data sets, driver and run record. Imports no orchestrator."""
