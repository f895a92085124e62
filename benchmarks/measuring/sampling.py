"""Takes the samples of a plan: round by round, the variants in turn, failures included."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ecommerce_pipeline.errors import PipelineError
from measuring.identity import identity
from measuring.options import BenchmarkOptions, BenchmarkOutcome, select
from measuring.partial import Partial, Sample
from measuring.plan import Group, Plan, Session, SessionWithNotes
from measuring.report import say, tables
from measuring.results import results, with_kept_cases, write

Turn = tuple[Group, str, int]
"""A group of cases, the variant and the round."""

LONGEST_REASON = 300


def measure(plan: Plan, options: BenchmarkOptions) -> BenchmarkOutcome:
    """Take the missing samples and write the results.

    Raises:
        PipelineError: the options name an unknown variant or case.
    """
    variants = select("variant", options.variants, plan.variants)
    wanted = select("case", options.cases, plan.cases)
    cases = [case for case in wanted if any(plan.has(case, variant) for variant in variants)]
    if not cases:
        raise PipelineError(
            f"{', '.join(variants)} has no case {', '.join(wanted)}", "choose others"
        )
    partial = Partial.open(
        options.partial / f"{plan.benchmark}.partial.json",
        identity(plan.benchmark, quick=options.quick),
        say,
        fresh=options.fresh,
    )
    work = options.partial / "work" / plan.benchmark
    turns = list(_turns(plan, variants, options.rounds))
    sampler = Sampler(plan, partial, cases, work, _count(turns, cases))
    for turn in turns:
        sampler.sample(*turn)
    values = results(plan, partial, options, variants, cases)
    file = options.out / f"{plan.benchmark}.json"
    if options.keeps_other_cases and file.exists():
        values = with_kept_cases(values, file, plan)
    write(values, file)
    if options.whole:
        partial.file.unlink(missing_ok=True)
    return BenchmarkOutcome(file, tuple(tables(values)), sampler.failures)


def _turns(plan: Plan, variants: Sequence[str], rounds: int) -> Iterator[Turn]:
    """Every group of every variant in the order of measuring."""
    for number in range(1, rounds + 1):
        for variant in rotated(variants, number):
            yield from ((group, variant, number) for group in plan.groups if group.has(variant))
    for group in plan.once:
        yield from ((group, variant, 1) for variant in variants if group.has(variant))


def _count(turns: Sequence[Turn], cases: Sequence[str]) -> int:
    """How many samples there are in the turns."""
    return sum(len(set(cases) & set(group.cases)) for group, _, _ in turns)


def rotated(variants: Sequence[str], number: int) -> tuple[str, ...]:
    """The variants in the order of a round: each begins with another, so that none is always first.

    Args:
        variants: their order in the first round.
        number: the round, from 1.
    """
    first = (number - 1) % len(variants)
    return (*variants[first:], *variants[:first])


@dataclass(slots=True)
class Sampler:
    """Takes samples and prints a line for each.

    Attributes:
        plan: what is measured.
        partial: where the samples go.
        cases: the names of the wanted ones.
        work: the parent of the sessions' scratch folders.
        total: how many samples there will be.
        failures: how many of the samples taken failed.
    """

    plan: Plan
    partial: Partial
    cases: Sequence[str]
    work: Path
    total: int
    failures: int = 0
    _taken: int = 0
    _begun: float = field(default_factory=time.monotonic)

    def sample(self, group: Group, variant: str, number: int) -> None:
        """Take the group's missing samples; those after a failure get a new session."""
        missing = [
            case
            for case in group.cases
            if case in self.cases and not self.partial.has(case, variant, number)
        ]
        while missing:
            folder = self.work / scratch_name(variant, number, missing[0])
            before = self.failures
            left = self._sample_in_session(group, variant, number, missing, folder)
            if self.failures == before:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                say(f"the files of {variant} are kept in {folder}")
            missing = left

    def _sample_in_session(
        self, group: Group, variant: str, number: int, missing: Sequence[str], folder: Path
    ) -> list[str]:
        """Take samples until one fails; return the cases that are left."""
        left = list(missing)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        stack = ExitStack()
        try:
            session = stack.enter_context(group.open(variant, folder))
        except Exception as error:
            for case in left:
                self._store(case, variant, Sample(number, {}, reason(error, folder)))
            return []
        try:
            while left:
                sample = take_sample(session, left[0], number, folder)
                if session.versions:
                    self.partial.versions[variant] = dict(session.versions)
                if isinstance(session, SessionWithNotes) and session.notes:
                    of_case = self.partial.notes.setdefault(left[0], {})
                    of_case[variant] = dict(session.notes)
                self._store(left.pop(0), variant, sample)
                if sample.failure:
                    break
        finally:
            close_session(stack, variant)
        return left

    def _store(self, case: str, variant: str, sample: Sample) -> None:
        self.partial.add(case, variant, sample)
        self._taken += 1
        self.failures += sample.failure is not None
        say(f"{self._shown(case, variant, sample)}  ({self._progress()})")

    def _shown(self, case: str, variant: str, sample: Sample) -> str:
        """One sample's main metric, or why it failed."""
        main, width = self.plan.cases[case].main_metric, max(map(len, self.plan.variants))
        value, unit = sample.values.get(main), self.plan.cases[case].metrics[main].unit
        shown = f"{value:,.2f} {unit}" if value is not None else f"FAILED {sample.failure}"
        return f"{self.plan.benchmark}  round {sample.round}  {variant:<{width}} {case:<16} {shown}"

    def _progress(self) -> str:
        # Samples of an earlier, interrupted command count as done, but not for the speed.
        stored = self.partial.samples.items()
        done = sum(len(samples) for (case, _), samples in stored if case in self.cases)
        left = (self.total - done) * (time.monotonic() - self._begun) / self._taken
        return f"{done} of {self.total}, {max(left, 0) / 60:.0f} min left"


def scratch_name(variant: str, number: int, case: str) -> str:
    """The name of a session's scratch folder, without characters that need quoting in a URL."""
    return re.sub(r"[^\w.-]+", "_", f"{variant}-{number}-{case}")


def close_session(stack: ExitStack, variant: str) -> None:
    """End a session; samples that were taken stay valid where it does not end well."""
    try:
        stack.close()
    except Exception as error:
        say(f"{variant} did not stop well: {error}")


def take_sample(session: Session, case: str, number: int, folder: Path) -> Sample:
    """One sample; any error makes it a failed one."""
    try:
        values = session.measure(case)
    except Exception as error:
        return Sample(number, {}, reason(error, folder))
    return Sample(number, {name: round(value, 3) for name, value in values.items()})


def reason(error: Exception, folder: Path) -> str:
    """The error in one line, without paths of this machine."""
    text = error.message if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}"
    line = " ".join(text.replace(f"{folder}/", "").replace(str(folder), "").split())
    return line[:LONGEST_REASON]
