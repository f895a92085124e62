"""Makes the benchmarks' own modules importable, as their command does."""

from __future__ import annotations

import sys

from pipeline_verification.harness.environments import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
