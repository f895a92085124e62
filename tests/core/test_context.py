"""The settings of a run: read from the environment, refused where malformed, passed on whole."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from ecommerce_pipeline.context import RunSettings, StepContext
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory

SETTINGS = RunSettings(
    RunDirectory(Path("/srv/run")),
    "sqlite:////srv/shop.db",
    max_staleness=timedelta(hours=7),
    slack_webhook_url="https://hooks.example.com/secret",
    lookback=3,
    max_key_loss=0.25,
    key_snapshot_rows=17,
)


def test_every_setting_survives_the_environment_and_json() -> None:
    """What a process writes, another one reads back whole."""
    assert RunSettings.from_environment(SETTINGS.to_environment()) == SETTINGS
    assert RunSettings.from_json(SETTINGS.to_json()) == SETTINGS
    context = SETTINGS.context(DataInterval.parse("2025-01-01"))
    assert context.settings == SETTINGS
    assert StepContext.from_json(context.to_json()) == context


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("PIPELINE_LOOKBACK", ("-1", "1.5", "", "two", "²", "9" * 30)),
        ("PIPELINE_MAX_KEY_LOSS", ("-0.1", "1.01", "nan", "", "half")),
        ("PIPELINE_KEY_SNAPSHOT_ROWS", ("-1", "1e6", "")),
    ],
)
def test_a_malformed_setting_is_refused_by_name(name: str, values: tuple[str, ...]) -> None:
    """The message has the variable and its value."""
    for value in values:
        with pytest.raises(PipelineError) as caught:
            RunSettings.from_environment({"PIPELINE_RUN_DIR": "/srv/run", name: value})
        assert f"{name}={value!r} is not a" in caught.value.message
