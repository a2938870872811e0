"""The runs of a comparison: methods x seeds (x the values of one flag)."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from pathlib import Path

from l2rw_tf.command_line.settings import Settings, as_text, differences, setting, suggestion
from l2rw_tf.errors import UsageError
from l2rw_tf.methods import METHODS
from l2rw_tf.runs import config, results
from l2rw_tf.runs.config import RunConfig
from l2rw_tf.runs.results import RunResults
from l2rw_tf.runs.run_directory import RunDirectory, check_vacant, name_of_data

_setting = functools.partial(setting, group="Comparison", is_common=True)

# Flags that a comparison sets itself.
_OWN_FLAGS = ("method", "seed", "run_dir", "name", "with_plain")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparisonConfig(Settings):
    """The settings of a comparison; each field is a flag, in addition to those of a run."""

    methods: tuple[str, ...] = _setting(
        ("plain", "l2rw"),
        "Methods to compare; flags for one method follow its name after colons, such as "
        "plain,l2rw,l2rw:meta_variables=head,plain:early_stopping.",
    )
    seeds: tuple[int, ...] = _setting(
        (0, 1, 2), "Seeds, such as 0,1,2; each method has a run per seed.", at_least=0
    )
    sweep: str = _setting(
        "",
        "A flag and the values to compare at, such as noise_ratio=0,0.1,0.2. Default: no sweep.",
    )
    learning_rates: tuple[float, ...] = _setting(
        (),
        "Grid of learning rates; each method takes the one with the best accuracy on the held-out "
        "labels at the end of training with the first seed. Default: --learning_rate for all.",
        above=0,
    )
    jobs: int = _setting(1, "Number of parallel runs.", at_least=1)
    compare_dir: str = _setting(
        "",
        "Directory for runs, table and figure, by default runs/compare-NAME; finished runs in it "
        "are kept.",
    )

    def check_together(self) -> None:
        """Checks combinations of settings."""
        for name in ("methods", "seeds"):
            if not getattr(self, name):
                raise UsageError(f"{name} is empty: give at least one.")
        for name in ("methods", "seeds", "learning_rates"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise UsageError(f"{name} must not repeat a value, got {as_text(values)}.")
        if self.sweep:
            self._check_sweep()

    def _check_sweep(self) -> None:
        flag, values = self.swept
        names = [field.name for field in dataclasses.fields(RunConfig)]
        if flag not in names:
            raise UsageError(
                f"sweep must be FLAG=VALUE,VALUE,... with a flag of a run, got "
                f"{self.sweep!r}{suggestion(flag, names)}."
            )
        self._refuse_own_flag("sweep", flag)
        if not values or len(set(values)) < len(values):
            raise UsageError(f"sweep needs different values after {flag}=, got {self.sweep!r}.")

    def _refuse_own_flag(self, where: str, flag: str) -> None:
        if flag in _OWN_FLAGS or (flag == "learning_rate" and self.learning_rates):
            instead = {"method": "methods", "seed": "seeds", "learning_rate": "learning_rates"}
            use = f": use --{instead[flag]}" if flag in instead else ""
            raise UsageError(f"{where} cannot set {flag}: the comparison sets it{use}.")

    @property
    def swept(self) -> tuple[str, tuple[str, ...]]:
        """The swept flag and its values; both are empty without a sweep."""
        flag, _, values = self.sweep.partition("=")
        return flag.strip(), tuple(part.strip() for part in values.split(",") if part.strip())

    def variant_flags(self, variant: str) -> list[str]:
        """Returns the command line flags of one entry of `methods`.

        Args:
            variant: METHOD or METHOD:FLAG=VALUE:FLAG...

        Raises:
            UsageError: If there is no such method, or the comparison itself sets one of the flags.
        """
        method, *flags = variant.split(":")
        if method not in METHODS:
            raise UsageError(
                f"methods must be among {', '.join(METHODS)}, got {method!r}"
                f"{suggestion(method, METHODS)}."
            )
        for flag in flags:
            name = flag.partition("=")[0]
            self._refuse_own_flag(f"methods: {variant}", name)
            if not name:
                raise UsageError(
                    f"methods: {variant} must be METHOD or METHOD:FLAG=VALUE, with no empty flag."
                )
            if name == self.swept[0]:
                raise UsageError(f"methods: {variant} cannot set {name}, which is swept.")
        return [f"--method={method}", *(f"--{flag}" for flag in flags)]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row of the table, shared by the runs of all its seeds.

    Attributes:
        variant: An entry of --methods: the method with its flags, as given.
        value: The value of the swept flag, as given; empty without a sweep.
    """

    variant: str
    value: str


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a comparison.

    Attributes:
        cell: The row of the table to which the run belongs.
        name: The name of the run's directory.
        config: The settings of the run.
    """

    cell: Cell
    name: str
    config: RunConfig


@dataclasses.dataclass(frozen=True)
class Plan:
    """All runs that a comparison may need.

    Attributes:
        comparison: The settings of the comparison.
        directory: The directory for runs and results.
        cells: The rows of the table.
        learning_rates: The grid of learning rates of each row; one entry if there is no choice.
        runs: The runs by cell, learning rate and seed.
    """

    comparison: ComparisonConfig
    directory: Path
    cells: tuple[Cell, ...]
    learning_rates: dict[Cell, tuple[float, ...]]
    runs: dict[tuple[Cell, float, int], Run]

    def trials(self) -> list[Run]:
        """Returns the runs that choose between learning rates, if there are several."""
        return [
            self.runs[cell, rate, self.comparison.seeds[0]]
            for cell in self.cells
            for rate in self.learning_rates[cell]
            if len(self.learning_rates[cell]) > 1
        ]

    def runs_after_trials(self, rates: dict[Cell, float]) -> list[Run]:
        """Returns the remaining runs at the chosen learning rates, seed by seed."""
        first, *others = self.comparison.seeds
        return [
            self.runs[cell, rates[cell], seed]
            for seed in (first, *others)
            for cell in self.cells
            if cell in rates and (seed != first or len(self.learning_rates[cell]) == 1)
        ]

    def number_of_runs(self, cell: Cell) -> int:
        """Returns the number of runs of a row of the table, including trials."""
        return len(self.learning_rates[cell]) + len(self.comparison.seeds) - 1

    def result(self, run: Run) -> RunResults | None:
        """Returns the results of a run, or None if it is not finished.

        Raises:
            UsageError: If its results.json is damaged.
        """
        directory = RunDirectory(self.run_directory(run))
        return results.read(directory.path) if directory.is_finished else None

    def run_directory(self, run: Run) -> Path:
        """Returns the directory of a run."""
        return self.directory / "runs" / run.name


def plan(comparison: ComparisonConfig, base: RunConfig) -> Plan:
    """Plans the runs of a comparison.

    Args:
        comparison: The settings of the comparison.
        base: The settings that all runs share; its method, seed and directory are ignored.

    Raises:
        UsageError: If settings of a run cannot be used.
    """
    flag, values = comparison.swept
    cells, grid, runs = [], {}, {}
    for value, variant in itertools.product(values or ("",), comparison.methods):
        cell = Cell(variant, value)
        shared = [
            *base.flag_lines(),
            "--with_plain=false",
            "--progress=lines",
            "--name=",
            *([f"--{flag}={value}"] if flag else []),
            *comparison.variant_flags(variant),
        ]
        settings = config.from_arguments(shared)
        rates = comparison.learning_rates or (settings.learning_rate,)
        if len(rates) > 1 and settings.validation_fraction == 0:
            raise UsageError(
                "learning_rates are chosen on held-out examples: validation_fraction must be above "
                "0, got 0."
            )
        cells.append(cell)
        grid[cell] = rates
        for rate, seed in itertools.product(rates, comparison.seeds):
            settings = dataclasses.replace(settings, learning_rate=rate, seed=seed)
            swept = f"-{flag}={value}" if flag else ""
            name = f"{variant}{swept}-learning_rate={rate!r}-seed={seed}"
            runs[cell, rate, seed] = Run(cell, re.sub(r"[^\w.=+-]", "_", name), settings)
    if len({run.name for run in runs.values()}) < len(runs):
        raise UsageError("two of the runs have the same name: methods and sweep values repeat.")
    name = base.name or f"{name_of_data(base.dataset)}-{base.noise_type}"
    directory = Path(comparison.compare_dir or f"runs/compare-{name}")
    return Plan(comparison, directory, tuple(cells), grid, runs)


def check_directories(planned: Plan) -> None:
    """Refuses existing runs with other settings, whose results do not belong in the same table.

    Raises:
        UsageError: If a run differs; the message names it and the flags that differ.
    """
    for run in planned.runs.values():
        directory = RunDirectory(planned.run_directory(run))
        if directory.is_finished:
            found = config.from_arguments([f"--flagfile={directory.path / 'config.cfg'}"])
            # Compares the requested data sets; config.cfg names the one that was used.
            found = dataclasses.replace(
                found,
                dataset=planned.result(run).requested_dataset,
                fallback_dataset=run.config.fallback_dataset,
            )
        elif directory.is_begun:
            found = config.from_arguments(directory.read_flags())
        else:
            check_vacant(str(directory.path))
            continue
        if differing := differences(found, run.config):
            raise UsageError(
                f"compare_dir={planned.directory} holds the run {run.name} with other flags: "
                f"{', '.join(differing)}. Name another directory."
            )


def choose_rates(planned: Plan) -> dict[Cell, float]:
    """Returns the learning rate of each cell: that of the best trial, the first one of a tie.

    Trials are compared by their final accuracy on the held-out labels, which are as noisy as the
    training labels; the test data is not used. Cells whose trials all failed are left out.

    Raises:
        UsageError: If a trial has no held-out examples.
    """
    rates = {}
    for cell in planned.cells:
        grid = planned.learning_rates[cell]
        if len(grid) == 1:
            rates[cell] = grid[0]
            continue
        accuracies = {}
        for rate in grid:
            run = planned.runs[cell, rate, planned.comparison.seeds[0]]
            if (result := planned.result(run)) is None:
                continue
            if result.validation_accuracy is None:
                raise UsageError(
                    f"learning_rates are chosen on held-out examples, but {run.name} has none: "
                    f"validation_fraction={run.config.validation_fraction:g} is too small."
                )
            accuracies[rate] = result.validation_accuracy
        if accuracies:
            rates[cell] = max(accuracies, key=lambda rate: accuracies[rate])
    return rates
