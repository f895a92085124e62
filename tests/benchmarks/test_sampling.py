"""Rounds, failures and continuing after an interruption, with a plan that only counts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.run_directory import RunDirectory
from measuring.options import BenchmarkOptions
from measuring.plan import Case, Group, Metric, Plan, Round, Values
from measuring.results import validate
from measuring.run_folders import RunFolders, SampleSetup
from measuring.sampling import measure, rotated, scratch_name

CASES = {name: Case(f"the case {name}", {"seconds": Metric("s", "seconds")}) for name in "ab"}


@dataclass
class Counting:
    """Opens sessions and records the calls to them; some fail.

    Attributes:
        broken: the variant, or the variant and case, that fails.
        taken: what was measured, in order.
        opened: the variants that were started, in order.
        interrupt_after: as many samples later, Ctrl+C is pressed.
    """

    broken: set[str | tuple[str, str]] = field(default_factory=set)
    taken: list[tuple[str, str]] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    interrupt_after: int | None = None

    @contextmanager
    def open(self, variant: str, folder: Path) -> Iterator[CountingSession]:
        self.opened.append(variant)
        if variant in self.broken:
            raise PipelineError(f"{variant} is not healthy, see {folder}/host.log", "fix it")
        yield CountingSession(self, variant)

    def plan(self) -> Plan:
        return Plan("counting", "Counting", (Group(CASES, self.open),), _doubled)


@dataclass
class CountingSession:
    """Values are the number of the sample."""

    counting: Counting
    variant: str

    @property
    def versions(self) -> Mapping[str, str]:
        return {"python": "3.11"}

    def measure(self, case: str) -> Values:
        if len(self.counting.taken) == self.counting.interrupt_after:
            raise KeyboardInterrupt
        self.counting.taken.append((self.variant, case))
        if (self.variant, case) in self.counting.broken:
            raise ValueError("nothing\nto see")
        return {"seconds": float(len(self.counting.taken))}


def _doubled(variant: Round, control: Round) -> dict[str, Values]:
    if "a" not in variant or "b" not in control:
        return {}
    return {"a": {"more": variant["a"]["seconds"] + control["b"]["seconds"]}}


@pytest.fixture
def options(tmp_path: Path) -> BenchmarkOptions:
    """Two variants, two rounds."""
    out, partial = tmp_path / "out", tmp_path / "partial"
    return BenchmarkOptions(out=out, partial=partial, rounds=2, variants=("cron", "prefect"))


def _measured(plan: Plan, options: BenchmarkOptions) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(measure(plan, options).file.read_text())
    return values


def test_order_of_the_variants() -> None:
    """Each round begins with another variant."""
    turns = [rotated(("a", "b", "c"), number) for number in (1, 2, 3, 4)]
    assert turns == [("a", "b", "c"), ("b", "c", "a"), ("c", "a", "b"), ("a", "b", "c")]


def test_interleaving(options: BenchmarkOptions) -> None:
    """The variants take turns round by round, each going through all cases."""
    counting = Counting()
    measure(counting.plan(), options)
    cron, prefect = [("cron", "a"), ("cron", "b")], [("prefect", "a"), ("prefect", "b")]
    assert counting.taken == [*cron, *prefect, *prefect, *cron]


def test_results(options: BenchmarkOptions) -> None:
    """The file is valid by the schema, keeps every sample, and has what the plan derives."""
    values = _measured(Counting().plan(), options)
    validate(values)
    assert values["cases"]["a"]["variants"]["prefect"]["samples"] == [
        {"round": 1, "values": {"seconds": 3.0, "more": 5.0}, "failure": None},
        {"round": 2, "values": {"seconds": 5.0, "more": 13.0}, "failure": None},
    ]
    assert values["cases"]["b"]["variants"]["prefect"]["summary"]["seconds"]["ratio"] == {
        "median": 1.375,
        "min": 0.75,
        "max": 2.0,
    }
    assert values["versions"] == {"cron": {"python": "3.11"}, "prefect": {"python": "3.11"}}


def test_other_things_than_variants(options: BenchmarkOptions) -> None:
    """A plan may compare other things than the variants, with a control among them."""
    counting = Counting()
    plan = replace(counting.plan(), variants=("warm", "cold"), control="cold")
    values = _measured(plan, replace(options, variants=None, rounds=1))
    validate(values)
    assert values["control"] == "cold"
    of_warm = values["cases"]["b"]["variants"]["warm"]["summary"]["seconds"]
    assert of_warm["median"] == 2.0
    assert of_warm["ratio"]["median"] == 0.5


def test_other_cases_of_a_file_are_kept(options: BenchmarkOptions) -> None:
    """Measuring one case again replaces it alone; the others say when they were measured."""
    options = replace(options, variants=None)
    plan = replace(Counting().plan(), variants=("cron", "prefect"))
    before = _measured(plan, options)
    again = replace(options, cases=("b",), rounds=3, fresh=True)
    values = _measured(plan, again)
    validate(values)
    measured = {name: before[name] for name in ("date", "rounds", "machine", "code", "versions")}
    assert values["cases"]["a"] == {"measured": measured, **before["cases"]["a"]}
    assert [sample["round"] for sample in _samples(values, "b")] == [1, 2, 3]
    assert (values["rounds"], list(values["cases"])) == (3, ["a", "b"])
    assert "measured" not in values["cases"]["b"]
    # The first case stays as old as it is.
    assert _measured(plan, again)["cases"]["a"]["measured"] == measured


def _samples(values: dict[str, Any], case: str) -> list[dict[str, Any]]:
    samples: list[dict[str, Any]] = values["cases"][case]["variants"]["cron"]["samples"]
    return samples


def test_measured_once(options: BenchmarkOptions) -> None:
    """What is measured once comes after all rounds, for the variants that have it alone."""
    counting = Counting()
    last = {"c": Case("the case c", {"seconds": Metric("s", "seconds")})}
    plan = replace(counting.plan(), once=(Group(last, counting.open, variants=("prefect",)),))
    values = _measured(plan, options)
    validate(values)
    assert counting.taken[-1] == ("prefect", "c")
    assert counting.taken.count(("prefect", "c")) == 1
    assert len(counting.taken) == 9
    assert list(values["cases"]["c"]["variants"]) == ["prefect"]


def test_no_variant_has_the_case(options: BenchmarkOptions) -> None:
    """A case that none of the wanted variants has is refused, as there is nothing to measure."""
    counting = Counting()
    last = {"c": Case("the case c", {"seconds": Metric("s", "seconds")})}
    plan = replace(counting.plan(), once=(Group(last, counting.open, variants=("cron",)),))
    with pytest.raises(PipelineError, match="prefect has no case c"):
        measure(plan, replace(options, variants=("prefect",), cases=("c",)))


def test_notes(options: BenchmarkOptions) -> None:
    """What a session notes is kept beside its samples, also when the measurement is continued."""

    @dataclass
    class Session:
        name: str
        notes: dict[str, Any] = field(default_factory=dict)
        versions: Mapping[str, str] = field(default_factory=dict)

        def measure(self, case: str) -> Values:
            if self.name == "prefect" and case == "a":
                self.notes["exact"] = True
            return {"seconds": 1.0}

    @contextmanager
    def opened(variant: str, folder: Path) -> Iterator[Session]:
        yield Session(variant)

    plan = Plan("noted", "Noted", (Group({"a": CASES["a"]}, opened),))
    _measured(plan, options)
    variants = _measured(plan, options)["cases"]["a"]["variants"]
    assert variants["prefect"]["notes"] == {"exact": True}
    assert "notes" not in variants["cron"]


def test_scratch_names() -> None:
    """A scratch folder's name has no character that a URL or a shell would read otherwise."""
    assert scratch_name("\\copy, binary", 2, "orders") == "_copy_binary-2-orders"


def test_a_case_that_fails(options: BenchmarkOptions) -> None:
    """It is a sample with its reason in one line; the cases after it get a new session."""
    counting = Counting(broken={("prefect", "a")})
    outcome = measure(counting.plan(), options)
    cases = json.loads(outcome.file.read_text())["cases"]
    assert [s["failure"] for s in cases["a"]["variants"]["prefect"]["samples"]] == [
        "ValueError: nothing to see"
    ] * 2
    assert cases["a"]["variants"]["prefect"]["summary"] == {}
    assert cases["b"]["variants"]["prefect"]["summary"]["seconds"]["n"] == 2
    assert counting.opened == ["cron", "prefect", "prefect", "prefect", "prefect", "cron"]
    assert outcome.failures == 2


def test_a_variant_that_does_not_start(options: BenchmarkOptions) -> None:
    """All its samples are failures without paths of this machine, and it hides no other variant."""
    values = _measured(Counting(broken={"prefect"}).plan(), options)
    validate(values)
    for case in values["cases"].values():
        failures = [sample["failure"] for sample in case["variants"]["prefect"]["samples"]]
        assert failures == ["prefect is not healthy, see host.log"] * 2
        assert case["variants"]["cron"]["summary"]["seconds"]["n"] == 2


def test_going_on(options: BenchmarkOptions) -> None:
    """After Ctrl+C the same command takes the missing samples alone and keeps the others."""
    first, second = Counting(interrupt_after=3), Counting()
    with pytest.raises(KeyboardInterrupt):
        measure(first.plan(), options)
    values = _measured(second.plan(), options)
    taken = [("prefect", "b"), ("prefect", "a"), ("prefect", "b"), ("cron", "a"), ("cron", "b")]
    assert second.taken == taken
    samples = values["cases"]["a"]["variants"]["cron"]["samples"]
    assert [sample["values"]["seconds"] for sample in samples] == [1.0, 4.0]


def test_fresh(options: BenchmarkOptions) -> None:
    """With ``fresh`` nothing of an earlier measurement is kept."""
    measure(Counting().plan(), options)
    again = Counting()
    measure(again.plan(), replace(options, fresh=True))
    assert len(again.taken) == 8


def test_other_code(options: BenchmarkOptions, capsys: pytest.CaptureFixture[str]) -> None:
    """Samples of other code are set aside, and one line says so."""
    measure(Counting().plan(), options)
    file = options.partial / "counting.partial.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "identity": {"code": "older"}}))
    again = Counting()
    measure(again.plan(), options)
    assert len(again.taken) == 8
    assert "starting again, as benchmark, code, machine, quick changed" in capsys.readouterr().err
    assert file.with_suffix(".earlier.json").exists()


def test_unknown_case(options: BenchmarkOptions) -> None:
    """An unknown case is refused with the names of the benchmark's cases."""
    with pytest.raises(PipelineError, match=r"there is no case c.*choose from a, b"):
        measure(Counting().plan(), replace(options, cases=("c",)))


def test_unequal_warehouse(options: BenchmarkOptions, tmp_path: Path) -> None:
    """A run whose warehouse differs from the control's gets no number, and the table is named."""
    folders = RunFolders(tmp_path / "folders", {"a": SampleSetup([]), "b": SampleSetup([])})
    kept = RunDirectory(tmp_path / "kept")
    _warehouse(kept, 1)
    folders.store_reference(kept, "a")
    folders.store_reference(kept, "b")

    @dataclass
    class Session:
        run: RunDirectory
        row: int
        versions: Mapping[str, str] = field(default_factory=dict)

        def measure(self, case: str) -> Values:
            folders.reset(self.run, case)
            _warehouse(self.run, self.row)
            folders.raise_if_different(self.run, case)
            return {"seconds": 1.0}

    @contextmanager
    def opened(variant: str, folder: Path) -> Iterator[Session]:
        yield Session(RunDirectory(folder), 1 if variant == "cron" else 2)

    values = _measured(Plan("equal", "Equal", (Group(CASES, opened),)), options)
    variants = values["cases"]["a"]["variants"]
    assert variants["cron"]["summary"]["seconds"]["n"] == 2
    assert variants["prefect"]["summary"] == {}
    assert [sample["failure"] for sample in variants["prefect"]["samples"]] == [
        "differs: main.marts"
    ] * 2


def _warehouse(run: RunDirectory, row: int) -> None:
    run.path.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(run.warehouse)) as connection:
        connection.execute("CREATE TABLE marts AS SELECT ? AS total", [row])
