"""The pipeline in plain Python and dbt: cron starts it each morning for the day before.

    0 6 * * *  cd /srv/shop && PIPELINE_RUN_DIR=/srv/shop/run venv/bin/python cron_impl/pipeline.py

``runner.py`` has the retries and the record, which an orchestrator would provide. dbt is started
for each of its steps, as a crontab would start it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from command import main
from ecommerce_pipeline import steps
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.dbt_runner import native
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.log import open_log
from ecommerce_pipeline.specification import EXTRACT_STEPS, STEP_BY_NAME
from own_process import call
from runner import IntervalRunner

DBT = Path(sys.executable).with_name("pipeline-dbt")  # dbt's own command, which ends with this one


def run_step(step: str, context: StepContext) -> None:
    """Run one Python step in a process of its own, which can be stopped at its time-out."""
    with steps.attempt(step, context) as attempt:
        attempt.result = call(step, context, STEP_BY_NAME[step].timeout_seconds)


def run_dbt(step: str, context: StepContext) -> None:
    """Run one dbt step: dbt's command on the step's selector."""
    log = context.run.step_log(step, context.interval)
    timeout = STEP_BY_NAME[step].timeout_seconds
    with native.attempt(step, context) as dbt, open_log(log) as output:
        try:
            dbt.exit_code = subprocess.run(
                [DBT, *native.arguments(step)],
                env=native.environment(context),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=timeout,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise PipelineError(
                f"{step} took longer than {timeout:g} s and was stopped",
                f"read {log}, or raise the step's time-out",
                retryable=True,
            ) from None


def pipeline(context: StepContext) -> None:
    """Run every step of one data interval, each after those it needs."""
    with IntervalRunner(context) as run:
        run.step("check_source_freshness", run_step)
        run.in_parallel(EXTRACT_STEPS, run_step)
        run.step("load_raw", run_step)
        run.step("dbt_run_staging", run_dbt)
        run.step("dbt_test_staging", run_dbt)
        run.step("dbt_snapshot", run_dbt)
        run.step("dbt_run_marts", run_dbt)
        run.step("dbt_test_marts", run_dbt)
        run.step("validate_output", run_step)
        run.step("publish", run_step)
        run.step("refresh_dashboard", run_step)
        run.step("notify_slack", run_step)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], pipeline))
