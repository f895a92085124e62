"""Names that the flow, its deployment and the runner share; imports nothing."""

PIPELINE_FLOW = "ecommerce-pipeline"
PIPELINE_DEPLOYMENT = "daily"
BACKFILL_FLOW = "ecommerce-backfill"
BACKFILL_DEPLOYMENT = "range"
WORK_POOL = "ecommerce"
SETTINGS_VARIABLE = "ecommerce_settings"
SECRETS_BLOCK = "ecommerce-secrets"
WAREHOUSE = "warehouse"  # the concurrency limit of one that guards the DuckDB file
MAX_ATTEMPTS = 3  # a crashed flow run is resumed until it has started this often
