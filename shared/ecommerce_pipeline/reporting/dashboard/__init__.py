"""The dashboard's page: its queries, charts and template."""
