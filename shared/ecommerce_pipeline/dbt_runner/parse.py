"""Parses the dbt project and writes, beside dbt's manifest, the nodes of each step's selector.

python -m ecommerce_pipeline.dbt_runner.parse FILE ARGUMENTS-OF-DBT-PARSE…
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from dbt.cli.main import dbtRunner

from ecommerce_pipeline.dbt_runner.selection import nodes_by_selector


class _Parsed:
    """A callback for dbt's events that keeps the command's project."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}

    def __call__(self, event: object) -> None:
        # Events of dbt's threads have no command.
        if context := click.get_current_context(silent=True):
            self.objects = context.obj


def parse(file: Path, arguments: list[str]) -> bool:
    """Run ``dbt parse``; write the nodes by selector to ``file``. Whether dbt could parse."""
    parsed = _Parsed()
    if not dbtRunner(callbacks=[parsed]).invoke(["parse", *arguments]).success:
        return False
    nodes = nodes_by_selector(parsed.objects["manifest"], parsed.objects["runtime_config"])
    file.write_text(json.dumps({name: list(map(asdict, found)) for name, found in nodes.items()}))
    return True


if __name__ == "__main__":
    sys.exit(0 if parse(Path(sys.argv[1]), sys.argv[2:]) else 1)
