"""How a run's steps are executed: each in a process forked from one that has imported all."""

import dagster as dg

from ecommerce_pipeline.specification import MAX_PARALLEL_STEPS

# What Dagster imports only once a step runs.
LATE_MODULES = (
    "alembic.op",
    "dagster._cli.api",
    "dagster._core.definitions.repository_definition.repository_data_builder",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.root",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.system_config.composite_descent",
    "dagster._utils.test",
    "structlog.dev",
)


def side_by_side(module: str) -> dg.ExecutorDefinition:
    """Two steps at a time, forked from a process that has imported ``module``: see README.md."""
    return dg.multiprocess_executor.configured(
        {
            "max_concurrent": MAX_PARALLEL_STEPS,
            "start_method": {"forkserver": {"preload_modules": [module, *LATE_MODULES]}},
        }
    )
