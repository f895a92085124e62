"""``pipeline-dbt``: dbt's own command line in a process that ends with the one that started it.

dbt alone outlives a tool that is killed, and would write beside the step's own retry.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import version

from ecommerce_pipeline.execution.processes import be_killed_with_parent

PARENT_VARIABLE = "PIPELINE_DBT_PARENT"


def main() -> None:
    """Run dbt as ``dbt`` does, with the same arguments, environment, output and exit code.

    Only ``--version`` is answered without dbt, which would take seconds for its imports, and ask a
    package index for newer releases. Where ``PIPELINE_DBT_PARENT`` has the id of the process that
    starts it, dbt ends also when that process ended before this code ran.
    """
    if sys.argv[1:] == ["--version"]:
        print(f"Core: {version('dbt-core')}")  # noqa: T201 (what was asked for)
        return
    parent = os.environ.get(PARENT_VARIABLE)
    be_killed_with_parent(int(parent) if parent else None)
    # A shell's background process ignores SIGINT, and so would dbt, with which tools stop it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from dbt.cli.main import cli

    cli()


if __name__ == "__main__":
    main()
