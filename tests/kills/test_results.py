"""The committed results of the random kills, and how a command continues them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from ecommerce_pipeline.harness.variant import NATIVE, STEP_SERVER
from ecommerce_pipeline.specification import STEP_NAMES
from pipeline_verification.harness.environments import CONTROL, variant_names
from pipeline_verification.random_kills import command
from pipeline_verification.random_kills.command import Options, Say
from pipeline_verification.random_kills.draw import MODES, PIPELINE, RESUME, Draw
from pipeline_verification.random_kills.kill import (
    NOT_RECOVERED,
    RESULTS,
    WENT_ON,
    Kill,
    result_file,
)
from pipeline_verification.random_kills.record import ResultFile, read

KILLS = {(CONTROL, STEP_SERVER): 200, (CONTROL, NATIVE): 50}
KILLS_OF_A_TOOL = 20
FORMS = (NATIVE, STEP_SERVER)
RUNS = [(name, form) for form in FORMS for name in variant_names(form)]
COMMITTED = [run for run in RUNS if result_file(*run).exists()]
KILL = Kill(
    seed=1,
    mode=PIPELINE,
    process="step",
    steps=["publish"],
    seconds=1.0,
    day_seconds=5.0,
    recovered_by=WENT_ON,
    triggers=1,
    recovery_seconds=4.0,
)


def committed(variant: str, form: str) -> list[Kill]:
    """The kills of a committed file, which must satisfy the schema and be of that variant."""
    values = read(result_file(variant, form))
    assert (values["variant"], values["form"]) == (variant, form)
    return [Kill(**kill) for kill in values["kills"]]


def test_every_variant_has_results() -> None:
    """There is a results file for each variant, and none for anything else."""
    found = set(RESULTS.glob("*.json"))
    assert {result_file(name, STEP_SERVER) for name in variant_names(STEP_SERVER)} <= found
    assert found <= {result_file(*run) for run in RUNS}


@pytest.mark.parametrize(("variant", "form"), COMMITTED)
def test_there_are_enough_kills(variant: str, form: str) -> None:
    """Two hundred kills of the control are committed, fifty natively; twenty of each tool."""
    assert len(committed(variant, form)) >= KILLS.get((variant, form), KILLS_OF_A_TOOL)


@pytest.mark.parametrize(("variant", "form"), COMMITTED)
def test_no_recovered_day_differs(variant: str, form: str) -> None:
    """After every kill every table is equal, the reader saw no error, and no process is left."""
    assert [kill for kill in committed(variant, form) if not kill.equal] == []


@pytest.mark.parametrize(("variant", "form"), COMMITTED)
def test_every_kill_can_be_repeated(variant: str, form: str) -> None:
    """Each kill has a seed of its own, which gives the mode that it had."""
    kills = committed(variant, form)
    modes = MODES if variant == CONTROL else (PIPELINE,)
    assert len({kill.seed for kill in kills}) == len(kills)
    assert [kill.mode for kill in kills] == [Draw.of(kill.seed, modes).mode for kill in kills]


def test_every_step_of_the_control_was_hit() -> None:
    """The control was killed in every step, and half of its kills were of its driver.

    Only the check of the freshness, which takes hundredths of a second, may have been missed.
    """
    kills = committed(CONTROL, STEP_SERVER)
    hit = {step for kill in kills for step in kill.steps}
    assert set(STEP_NAMES) - hit <= {"check_source_freshness"}
    of_driver = [kill for kill in kills if kill.mode == RESUME]
    assert len(of_driver) * 2 >= len(kills) - 1


@pytest.mark.parametrize(
    "change",
    [{"differing": ["marts.fct_orders"]}, {"problems": ["x"]}, {"recovered_by": NOT_RECOVERED}],
)
def test_a_kill_with_any_problem_is_not_equal(change: dict[str, object]) -> None:
    """A difference, an error of the reader and a day without an end all count."""
    assert KILL.equal
    assert not replace(KILL, **change).equal  # type: ignore[arg-type]


def test_a_record_outside_the_schema_is_not_written(tmp_path: Path) -> None:
    """A kill that breaks the schema raises, and the file stays as it was."""
    results = ResultFile(tmp_path / "results.json", "cron", NATIVE)
    results.add(KILL)
    before = results.path.read_bytes()
    with pytest.raises(jsonschema.ValidationError):
        results.add(replace(KILL, seed=2, recovered_by="a miracle"))
    assert results.path.read_bytes() == before


class Recorder:
    """Stands for the kills: notes the seeds and adds an equal kill for each."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def __call__(self, options: Options, results: ResultFile, say: Say) -> Sequence[Kill]:
        made = [replace(KILL, seed=d.seed, mode=d.mode) for d in options.draws]
        for kill in made:
            results.add(kill)
        self.seeds += [kill.seed for kill in made]
        return made


def test_the_command_continues_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeds that the file has are left out, unless one is asked for by name."""
    recorder = Recorder()
    monkeypatch.setattr(command, "kill_all", recorder)
    file = str(tmp_path / "results.json")
    for arguments in (["--kills", "2"], ["--kills", "4"], ["--only-seed", "3"]):
        done = CliRunner().invoke(command.command, [*arguments, "--out", file])
        assert done.exit_code == 0, done.output
    assert recorder.seeds == [1, 2, 3, 4, 3]
    assert [kill.seed for kill in ResultFile(Path(file), "cron", NATIVE).kills] == [1, 2, 3, 4]


def test_a_difference_fails_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 and a line with the seed report a day that differs."""
    file = tmp_path / "results.json"
    ResultFile(file, "cron", NATIVE).add(replace(KILL, differing=["marts.fct_orders"]))
    monkeypatch.setattr(command, "kill_all", Recorder())
    done = CliRunner().invoke(command.command, ["--kills", "1", "--out", str(file)])
    assert done.exit_code == 1
    assert "DIFFERS  seed 1" in done.output
