"""Carries out a comparison: runs, progress on standard output, table and figure."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence

from l2rw_tf.comparison import figure, jobs, table
from l2rw_tf.comparison.plan import Cell, Plan, Run, choose_rates
from l2rw_tf.comparison.rows import Row, rows
from l2rw_tf.data.settings import TRUE
from l2rw_tf.errors import UsageError
from l2rw_tf.runs import words
from l2rw_tf.runs.results import RunResults, percent
from l2rw_tf.runs.run_directory import RunDirectory


def compare(plan: Plan, execute: jobs.Execute, command: str) -> list[str]:
    """Executes all unfinished runs, and writes results.md, results.csv and the figure.

    Args:
        plan: The comparison.
        execute: Executes one run.
        command: The command line, shown in the table and the figure.

    Returns:
        A sentence for each row of the table that lacks runs; empty if all runs finished.

    Raises:
        UsageError: If a run cannot use its settings or data; all other runs are then stopped.
    """
    progress = _Progress(plan)
    print(f"{progress.total} runs, {plan.comparison.jobs} at a time: {plan.directory}", flush=True)

    def finished(run: Run, ended: jobs.Ended) -> None:
        progress.add(run, ended)
        _write_tables(plan, choose_rates(plan), command, progress.failures)

    def run_all(runs: Sequence[Run]) -> None:
        waiting = [run for run in runs if not progress.keeps(run)]
        jobs.run_all(waiting, execute, plan.comparison.jobs, finished)

    run_all(plan.trials())
    rates = choose_rates(plan)
    run_all(plan.runs_after_trials(rates))
    found = _write_tables(plan, rates, command, progress.failures)
    if found:
        drawn = figure.figure(plan, found, command)
        RunDirectory(plan.directory).save_figure("comparison.png", drawn)
        print(f"\n{table.table(found)}")
    print(f"\nresults: {plan.directory}/results.md", flush=True)
    return _incomplete(plan, found, progress.failures)


def _write_tables(
    plan: Plan, rates: dict[Cell, float], command: str, failures: dict[str, str]
) -> list[Row]:
    """Writes the tables of the runs finished so far, so that an interrupted comparison has them."""
    found = rows(plan, rates)
    notes = [f"{name} failed: {reason}" for name, reason in failures.items()]
    directory = RunDirectory(plan.directory)
    directory.write_table("results.csv", *table.cells(plan, found, command))
    directory.write_text("results.md", table.as_markdown(plan, found, command, notes))
    return found


def _incomplete(plan: Plan, found: Sequence[Row], failures: dict[str, str]) -> list[str]:
    seeds = {row.cell: row.results for row in found}
    sentences = []
    for cell in plan.cells:
        there, wanted = len(seeds.get(cell, ())), len(plan.comparison.seeds)
        if there < wanted:
            names = {run.name for run in plan.runs.values() if run.cell == cell}
            reason = next((failures[name] for name in failures if name in names), "")
            label = f"{cell.variant} {cell.value}".strip()
            sentences.append(f"{label} has {there} of {wanted} runs: {reason}")
    return sentences


class _Progress:
    """Prints each finished run and estimates the remaining time.

    Attributes:
        total: The number of runs.
        failures: The reason of each failed run, by its name.
    """

    def __init__(self, plan: Plan) -> None:
        self.failures: dict[str, str] = {}
        self._plan = plan
        self.total = sum(map(plan.number_of_runs, plan.cells))
        self._left = Counter({cell: plan.number_of_runs(cell) for cell in plan.cells})
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def keeps(self, run: Run) -> bool:
        """Returns whether a run is finished already; if so, counts and prints it."""
        result = self._plan.result(run)
        if result is None:
            return False
        self._left[run.cell] -= 1
        self._seconds[run.cell.variant].append(result.train_seconds)
        print(f"{self._head(run)}: kept, {_outcome(result)}", flush=True)
        return True

    def add(self, run: Run, ended: jobs.Ended) -> None:
        """Counts and prints a run that has ended.

        Raises:
            UsageError: If the run could not use its settings or data.
        """
        result = self._plan.result(run) if ended.exit_code == 0 else None
        self._left[run.cell] -= 1
        if result is not None:
            self._seconds[run.cell.variant].append(ended.seconds)
            outcome = _outcome(result)
        elif ended.exit_code == 2:
            raise UsageError(f"{run.name}: {ended.complaint}")
        else:
            self.failures[run.name] = ended.complaint
            outcome = f"failed: {ended.complaint}"
        print(f"{self._head(run)}: {outcome}, {_duration(ended.seconds)}{self._rest()}", flush=True)

    def _head(self, run: Run) -> str:
        done = self.total - self._left.total()
        parts = [run.cell.variant]
        if run.cell.value:
            parts.append(f"{self._plan.comparison.swept[0]}={run.cell.value}")
        if len(self._plan.learning_rates[run.cell]) > 1:
            parts.append(f"learning rate {run.config.learning_rate:g}")
        parts.append(f"seed {run.config.seed}")
        return f"[{done:{len(str(self.total))}}/{self.total}] {', '.join(parts)}"

    def _rest(self) -> str:
        """Returns the time left, from the mean time of the method's runs, or of all runs so far."""
        known = [value for values in self._seconds.values() for value in values]
        if not self._left.total() or not known:
            return ""
        seconds = sum(
            number * statistics.fmean(self._seconds.get(cell.variant, known))
            for cell, number in self._left.items()
        )
        return f"; about {_duration(seconds / self._plan.comparison.jobs)} left"


def _outcome(result: RunResults) -> str:
    if result.test_labels == TRUE:
        return f"test {percent(result.test_accuracy)}"
    return f"accuracy {words.accuracy(result)}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
