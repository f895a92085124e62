"""The repository's first command: builds each variant's environment and runs it once it is ready.

NOX_PYTHON=.venv/bin/python python -m pipeline_verification.build_and_run_all --days 3
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pipeline_verification import all_variants
from pipeline_verification.harness.environment_builds import nox_builds


def main(arguments: Sequence[str]) -> None:
    """Run all variants with these options; the environments are built beside the first runs."""
    with nox_builds() as builds:
        all_variants.main(arguments, builds.interpreter)


if __name__ == "__main__":
    main(sys.argv[1:])
