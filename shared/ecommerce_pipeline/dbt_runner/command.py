"""``pipeline-dbt``: dbt's own command line in a process that ends with the one that started it.

dbt alone outlives a tool that is killed, and would write beside the step's own retry.
"""

from __future__ import annotations

from ecommerce_pipeline.execution.processes import be_killed_with_parent


def main() -> None:
    """Run dbt as ``dbt`` does, with the same arguments, environment, output and exit code."""
    be_killed_with_parent()
    from dbt.cli.main import cli

    cli()


if __name__ == "__main__":
    main()
