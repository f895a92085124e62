"""Takes the samples of a plan: round by round, the variants in turn, every outcome kept."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ecommerce_pipeline.errors import PipelineError
from measuring.identity import identity
from measuring.options import Options, Outcome, chosen
from measuring.partial import Partial, Sample
from measuring.plan import Group, Plan, Session
from measuring.report import say, table
from measuring.results import results, write

LONGEST_REASON = 300


def measure(plan: Plan, options: Options) -> Outcome:
    """Take the samples that are missing and write the results.

    Raises:
        PipelineError: a variant or a case is asked for that there is not.
    """
    variants = chosen("variant", options.variants, plan.variants)
    cases = chosen("case", options.cases, plan.cases)
    partial = Partial.open(
        options.partial / f"{plan.verb}.partial.json",
        identity(plan.verb, quick=options.quick),
        say,
        fresh=options.fresh,
    )
    work = options.partial / "work" / plan.verb
    sampler = Sampler(plan, partial, cases, work, options.rounds * len(variants) * len(cases))
    for number in range(1, options.rounds + 1):
        for variant in in_turn(variants, number):
            for group in plan.groups:
                sampler.sample(group, variant, number)
    values = results(plan, partial, options, variants, cases)
    file = write(values, options.out / f"{plan.verb}.json")
    if options.whole:
        partial.file.unlink(missing_ok=True)
    return Outcome(file, tuple(table(values)), sampler.failures)


def in_turn(variants: Sequence[str], number: int) -> tuple[str, ...]:
    """The variants, begun with another one in each round, so that none always runs first."""
    first = (number - 1) % len(variants)
    return (*variants[first:], *variants[:first])


@dataclass(slots=True)
class Sampler:
    """Takes samples and tells of each.

    Attributes:
        plan: what is measured.
        partial: where the samples go.
        cases: the names of those that are wanted.
        work: the folder for what the variants leave.
        total: how many samples there will be.
        failures: how many of those taken have no values.
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
        """Take the group's missing samples; after a failure the rest gets a new session."""
        missing = [
            case
            for case in group.cases
            if case in self.cases and not self.partial.has(case, variant, number)
        ]
        while missing:
            folder = self.work / f"{variant}-{number}-{missing[0]}"
            before = self.failures
            left = self._in_a_session(group, variant, number, missing, folder)
            if self.failures == before:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                say(f"what {variant} left is kept in {folder}")
            missing = left

    def _in_a_session(
        self, group: Group, variant: str, number: int, missing: Sequence[str], folder: Path
    ) -> list[str]:
        """Take samples until one fails; the cases that are left."""
        left = list(missing)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        stack = ExitStack()
        try:
            session = stack.enter_context(group.open(variant, folder))
        except Exception as error:
            for case in left:
                self._keep(case, variant, Sample(number, {}, reason(error, folder)))
            return []
        try:
            while left:
                sample = take(session, left[0], number, folder)
                if session.versions:
                    self.partial.versions[variant] = dict(session.versions)
                self._keep(left.pop(0), variant, sample)
                if sample.failure:
                    break
        finally:
            close(stack, variant)
        return left

    def _keep(self, case: str, variant: str, sample: Sample) -> None:
        self.partial.add(case, variant, sample)
        self._taken += 1
        self.failures += sample.failure is not None
        kept = self.partial.samples.items()
        done = sum(len(samples) for (name, _), samples in kept if name in self.cases)
        left = (self.total - done) * (time.monotonic() - self._begun) / self._taken
        headline, metric = next(iter(self.plan.cases[case].metrics.items()))
        value, widest = sample.values.get(headline), max(map(len, self.plan.variants))
        shown = f"{value:,.2f} {metric.unit}" if value is not None else f"FAILED {sample.failure}"
        say(
            f"{self.plan.verb}  round {sample.round}  {variant:<{widest}} {case:<16} {shown}"
            f"  ({done} of {self.total}, {max(left, 0) / 60:.0f} min left)"
        )


def close(stack: ExitStack, variant: str) -> None:
    """End a session; what it gave is sound also where it does not end well."""
    try:
        stack.close()
    except Exception as error:
        say(f"{variant} did not stop well: {error}")


def take(session: Session, case: str, number: int, folder: Path) -> Sample:
    """One sample; whatever goes wrong is its failure."""
    try:
        values = session.measure(case)
    except Exception as error:
        return Sample(number, {}, reason(error, folder))
    return Sample(number, {name: round(value, 3) for name, value in values.items()})


def reason(error: Exception, folder: Path) -> str:
    """The error in one line that holds on any machine."""
    text = error.message if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}"
    line = " ".join(text.replace(f"{folder}/", "").replace(str(folder), "").split())
    return line[:LONGEST_REASON]
