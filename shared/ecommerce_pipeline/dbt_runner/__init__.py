"""Running dbt: one command at a time in this process, on a manifest that is parsed once."""
