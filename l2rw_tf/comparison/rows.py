"""The rows of a comparison: the accuracies of each method (and swept value) over the seeds."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

from l2rw_tf.comparison.plan import Cell, Plan
from l2rw_tf.data.settings import TRUE
from l2rw_tf.runs.results import ChosenEpoch, RunResults


@dataclasses.dataclass(frozen=True)
class Statistic:
    """Mean and sample standard deviation (None for a single value) over the seeds."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Statistic | None:
        """Returns the statistic of some values, or None if there are none."""
        if not values:
            return None
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


@dataclasses.dataclass(frozen=True)
class SeedDifference:
    """How much more accurate one method is than another, over the seeds that both have.

    Methods have the same data and wrong labels with a seed, unless their flags change them, so the
    standard error of the mean difference does not include what they share.

    Attributes:
        mean: The mean of the differences of the seeds.
        standard_error: Their sample standard deviation over the square root of their number.
    """

    mean: float
    standard_error: float


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        cell: Method and swept value.
        learning_rate: The learning rate of its runs.
        results: The results of the finished runs by seed; at least one.
        baseline: The row of the first method, if this is not that row.
    """

    cell: Cell
    learning_rate: float
    results: dict[int, RunResults]
    baseline: Row | None = None

    @property
    def first(self) -> RunResults:
        """The results of its first run."""
        return next(iter(self.results.values()))

    @property
    def accuracies(self) -> list[float]:
        """The accuracy of each saved network.

        If no labels are known to be right, this is agreement with the given test labels.
        """
        return [_accuracy_at(result, result) for result in self.results.values()]

    @property
    def accuracy_name(self) -> str:
        """What `accuracies` measure, for headings."""
        if self.first.test_labels == TRUE:
            return "test accuracy"
        if self.first.accuracy is None:
            return "agreement with given test labels"
        return "accuracy on trusted examples"

    @property
    def accuracy(self) -> Statistic:
        """Mean and standard deviation of `accuracies`."""
        return Statistic.of(self.accuracies)

    @property
    def chosen(self) -> Statistic | None:
        """Accuracy at the epoch chosen by the held-out labels; None if there are none."""
        return self._at([one.chosen_by_validation for one in self.results.values()])

    @property
    def chosen_by_clean(self) -> Statistic | None:
        """Accuracy at the epoch chosen by the clean examples; None if they cannot choose."""
        return self._at([one.chosen_by_clean for one in self.results.values()])

    def _at(self, chosen: Sequence[ChosenEpoch | None]) -> Statistic | None:
        runs = zip(self.results.values(), chosen, strict=True)
        return Statistic.of([_accuracy_at(result, choice) for result, choice in runs if choice])

    @property
    def difference(self) -> SeedDifference | None:
        """Accuracy minus that of the first method; None with fewer than two common seeds."""
        if self.baseline is None:
            return None
        own, other = (
            dict(zip(row.results, row.accuracies, strict=True)) for row in (self, self.baseline)
        )
        apart = [own[seed] - other[seed] for seed in own.keys() & other.keys()]
        if len(apart) < 2:
            return None
        error = statistics.stdev(apart) / math.sqrt(len(apart))
        return SeedDifference(statistics.fmean(apart), error)

    @property
    def steps(self) -> int:
        """The number of training steps per run."""
        return max(result.steps for result in self.results.values())

    @property
    def step_seconds(self) -> float:
        """The mean over the seeds of the median time per step."""
        return statistics.fmean(result.step_seconds for result in self.results.values())


def _accuracy_at(result: RunResults, epoch: ChosenEpoch | RunResults) -> float:
    """Returns the accuracy at an epoch, or agreement if no labels are known to be right."""
    accuracy = result.accuracy_at(epoch)
    return epoch.test_accuracy if accuracy is None else accuracy


def rows(planned: Plan, rates: dict[Cell, float]) -> list[Row]:
    """Returns the rows of the table; rows without a finished run are left out.

    Args:
        planned: The comparison.
        rates: The learning rate of each cell; cells without one are left out.
    """
    found = []
    for cell, rate in rates.items():
        results = {
            seed: result
            for seed in planned.comparison.seeds
            if (result := planned.result(planned.runs[cell, rate, seed])) is not None
        }
        if results:
            found.append(Row(cell, rate, results))
    first = planned.comparison.methods[0]
    firsts = {row.cell.value: row for row in found if row.cell.variant == first}
    return [
        row
        if row.cell.variant == first
        else dataclasses.replace(row, baseline=firsts.get(row.cell.value))
        for row in found
    ]
