"""The repository's first command: builds each variant's environment and runs it once it is ready.

python -m pipeline_verification.build_and_run_all NOX_PYTHON --days 3
"""

from __future__ import annotations

import sys

from pipeline_verification import all_variants
from pipeline_verification.harness.environment_builds import flushed, nox_builds


def main(nox_python: str, *arguments: str) -> None:
    """Run all variants with the options; the environments are built beside the first runs.

    Args:
        nox_python: the Python whose nox builds the environments.
        arguments: the options of a run.
    """
    with nox_builds(nox_python, flushed) as builds:
        all_variants.main(arguments, builds.interpreter)


if __name__ == "__main__":
    main(*sys.argv[1:])
