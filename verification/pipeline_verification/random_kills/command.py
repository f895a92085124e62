"""The command of the random kills.

python -m pipeline_verification.random_kills.command --variant cron --kills 200
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from ecommerce_pipeline.execution.processes import exit_on_sigterm
from ecommerce_pipeline.files.paths import remove
from ecommerce_pipeline.harness.command_line import run_cli
from ecommerce_pipeline.harness.variant import NATIVE, STEP_SERVER
from ecommerce_pipeline.reporting import formatting
from pipeline_verification.harness.environments import CONTROL, ROOT, interpreter, variant_names
from pipeline_verification.random_kills.control_kill import ControlKills
from pipeline_verification.random_kills.draw import MODES, PIPELINE, Draw
from pipeline_verification.random_kills.kill import Kill, result_file
from pipeline_verification.random_kills.prepared import Control, PreparedDay
from pipeline_verification.random_kills.record import ResultFile
from pipeline_verification.random_kills.tool_kill import ToolKills

FOLDER = ROOT / "runs" / "kills"
BOTH = "both"
INTERRUPTED = 130
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What is killed, and how often.

    Attributes:
        variant: the variant's name.
        form: the form of its pipeline.
        draws: one for each kill.
        jobs: how many kills of the control run side by side.
        folder: where everything is run.
    """

    variant: str
    form: str
    draws: Sequence[Draw]
    jobs: int
    folder: Path


@click.command(context_settings={"show_default": True})
@click.option("--variant", type=click.Choice(variant_names()), default=CONTROL)
@click.option("--form", type=click.Choice([NATIVE, STEP_SERVER]), default=NATIVE)
@click.option("--kills", type=click.IntRange(min=1), default=20, help="How many, in all.")
@click.option("--seed", type=click.IntRange(min=0), default=1, help="The first kill's seed.")
@click.option("--only-seed", type=click.IntRange(min=0), help="Repeat the kill of one seed.")
@click.option(
    "--mode",
    type=click.Choice([BOTH, *MODES]),
    default=BOTH,
    help="For the control: kill the pipeline's processes, or run.py and resume; both by turns.",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Kills at once.  [default: the cores]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The results file.  [default: the committed one; with --only-seed in runs/kills]",
)
def command(  # noqa: PLR0917 (click passes them by name)
    variant: str,
    form: str,
    kills: int,
    seed: int,
    only_seed: int | None,
    mode: str,
    jobs: int | None,
    out: Path | None,
) -> None:
    """Kill random processes at random moments; compare the recovered day with a control's.

    Results are written after each kill. The same command continues after an interruption: seeds
    that the results file already has are left out.
    """
    exit_on_sigterm()
    modes = (MODES if mode == BOTH else (mode,)) if variant == CONTROL else (PIPELINE,)
    folder = FOLDER / variant / form
    committed = result_file(variant, form)
    file = out or (committed if only_seed is None else FOLDER / f"seed-{committed.name}")
    results = ResultFile(file, variant, form)
    seeds = range(seed, seed + kills) if only_seed is None else [only_seed]
    draws = [Draw.of(each, modes) for each in seeds if only_seed is not None or each not in results]
    side_by_side = (jobs or os.cpu_count() or 1) if variant == CONTROL else 1
    try:
        made = kill_all(Options(variant, form, draws, side_by_side, folder), results, click.echo)
    except KeyboardInterrupt:
        click.echo(f"stopped by Ctrl+C; {file} has what was done, and the command continues it")
        sys.exit(INTERRUPTED)
    kills_now = results.kills if only_seed is None else made
    for line in summary(kills_now):
        click.echo(line)
    click.echo(f"results  {file}")
    sys.exit(0 if all(kill.equal for kill in kills_now) else 1)


def kill_all(
    options: Options, results: ResultFile, say: Say, *, python: Path | None = None
) -> list[Kill]:
    """Make the kills and write each to the results.

    Args:
        options: which kills.
        results: where they are written.
        say: called with lines of progress.
        python: the control's interpreter; default: that of its environment.

    Raises:
        PipelineError: an environment is missing, or the tool cannot be started.
        RuntimeError: an undisturbed day failed.
        TimeoutError: a day always ended before its kill.
    """
    made: list[Kill] = []
    if not options.draws:
        return made
    form = options.form if options.variant == CONTROL else STEP_SERVER
    control = Control(python or interpreter(CONTROL), form)
    with _own_temporary_folder():
        say(f"preparing two days of the control in {options.folder}")
        begun = time.monotonic()
        modes = {draw.mode for draw in options.draws}
        prepared = PreparedDay.prepare(options.folder / "prepared", control, modes)
        say(f"prepared in {time.monotonic() - begun:.0f} s")
        with _kills(options, prepared, control, results, say) as kills:
            for kill in kills:
                results.add(kill)
                made.append(kill)
                say(f"{len(made):>4}/{len(options.draws)}  {_line(kill)}")
    remove(options.folder / "prepared", missing_ok=True)
    return made


@contextmanager
def _own_temporary_folder() -> Iterator[None]:
    """Let what is started in the block use a temporary folder that is removed after it."""
    # What is killed cannot remove its temporary files. The path is short, as that of a socket is
    # limited.
    earlier = tempfile.tempdir, os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="kills-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # started by root, PostgreSQL runs as another user below it
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        try:
            yield
        finally:
            tempfile.tempdir, variable = earlier
            if variable is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = variable


@contextmanager
def _kills(
    options: Options, prepared: PreparedDay, control: Control, results: ResultFile, say: Say
) -> Iterator[Iterable[Kill]]:
    """The kills as they are made."""
    if options.variant == CONTROL:
        results.versions_are(prepared.versions())
        of_control = ControlKills(prepared, control, options.folder)
        pool = ThreadPoolExecutor(options.jobs)
        try:
            futures = [pool.submit(of_control.make, draw) for draw in options.draws]
            yield (future.result() for future in as_completed(futures))
        finally:
            of_control.stop()
            pool.shutdown(cancel_futures=True)
        return
    tool = ToolKills(options.variant, options.form, prepared, options.folder, say)
    results.versions_are(tool.versions)
    try:
        yield map(tool.make, options.draws)
    finally:
        tool.stop()


def summary(kills: Sequence[Kill]) -> Iterator[str]:
    """What the kills led to, in lines."""
    wrong = [kill for kill in kills if not kill.equal]
    yield f"{len(kills)} kills, {len(wrong)} of them with a difference"
    for name, of in (("process", lambda k: k.process), ("recovered by", lambda k: k.recovered_by)):
        counts = Counter(map(of, kills)).most_common()
        yield f"{name}: {', '.join(f'{text} {count}' for text, count in counts)}"
    for kill in wrong:
        yield f"DIFFERS  {_line(kill)}"
        yield from (f"    {problem}" for problem in kill.problems)


def _line(kill: Kill) -> str:
    steps = ", ".join(kill.steps) or "no step"
    verdict = "equal" if kill.equal else f"DIFFERS in {', '.join(kill.differing) or 'other ways'}"
    took = formatting.duration(kill.recovery_seconds)
    return (
        f"seed {kill.seed}  {kill.mode:<8}  {kill.process} at {kill.seconds:.1f} s during {steps}:"
        f" {kill.recovered_by} ({kill.triggers} starts, {took}), {verdict}"
    )


if __name__ == "__main__":
    run_cli(command)
