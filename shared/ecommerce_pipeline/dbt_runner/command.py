"""``pipeline-dbt``: dbt's own command line in a process that ends with the one that started it.

dbt alone outlives a tool that is killed, and would write beside the step's own retry.
"""

from __future__ import annotations

import sys
from importlib.metadata import version

from ecommerce_pipeline.execution.processes import be_killed_with_parent


def main() -> None:
    """Run dbt as ``dbt`` does, with the same arguments, environment, output and exit code.

    Only ``--version`` is answered without dbt, which would take seconds for its imports, and ask a
    package index for newer releases.
    """
    if sys.argv[1:] == ["--version"]:
        print(f"Core: {version('dbt-core')}")  # noqa: T201 (what was asked for)
        return
    be_killed_with_parent()
    from dbt.cli.main import cli

    cli()


if __name__ == "__main__":
    main()
