"""The pipeline in plain Python, whose steps are children of a warm process that has imported dbt.

    0 6 * * *  cd /srv/shop && PIPELINE_RUN_DIR=/srv/shop/run \
        venv/bin/python cron_impl/pipeline_step_server.py

``runner.py`` has the retries and the record, which an orchestrator would provide.
"""

from __future__ import annotations

import sys

from command import main
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.execution.step_client import run_step
from ecommerce_pipeline.specification import EXTRACT_STEPS
from runner import IntervalRunner


def pipeline(context: StepContext) -> None:
    """Run every step of one data interval, each after those it needs."""
    with IntervalRunner(context) as run:
        run.step("check_source_freshness", run_step)
        run.in_parallel(EXTRACT_STEPS, run_step)
        run.step("load_raw", run_step)
        run.step("dbt_run_staging", run_step)
        run.step("dbt_test_staging", run_step)
        run.step("dbt_snapshot", run_step)
        run.step("dbt_run_marts", run_step)
        run.step("dbt_test_marts", run_step)
        run.step("validate_output", run_step)
        run.step("publish", run_step)
        run.step("refresh_dashboard", run_step)
        run.step("notify_slack", run_step)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], pipeline))
