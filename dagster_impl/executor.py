"""The executor: each step runs in a process forked from one with all modules imported."""

import dagster as dg

from ecommerce_pipeline.specification import MAX_PARALLEL_STEPS

# Dagster, dbt and the steps import these only when they run. Without the preload every forked step
# would import them again, because what a fork imports is lost when it exits.
LATE_MODULES = (
    "alembic.op",
    "dagster._cli.api",
    "dagster._core.definitions.repository_definition.repository_data_builder",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.root",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.system_config.composite_descent",
    "dagster._utils.test",
    "dbt.adapters.duckdb.environments.local",
    "dbt.context.providers",
    "dbt.parser.manifest",
    "ecommerce_pipeline.source.sqlite",
    "ecommerce_pipeline.steps.dashboard",
    "ecommerce_pipeline.steps.extract",
    "ecommerce_pipeline.steps.freshness",
    "ecommerce_pipeline.steps.load",
    "ecommerce_pipeline.steps.notify",
    "ecommerce_pipeline.steps.publish",
    "ecommerce_pipeline.steps.validate",
    "pandas",
    "sqlglot.dialects.duckdb",
    "sqlglot.lineage",
    "structlog.dev",
)


def side_by_side(*modules: str) -> dg.ExecutorDefinition:
    """Run two steps at a time, forked from a process that has imported the modules."""
    # The default start method, spawn, would import the pipeline, and with it dbt, in every step,
    # which takes seconds. The fork server imports it once for each run.
    return dg.multiprocess_executor.configured(
        {
            "max_concurrent": MAX_PARALLEL_STEPS,
            "start_method": {"forkserver": {"preload_modules": [*modules, *LATE_MODULES]}},
        }
    )
