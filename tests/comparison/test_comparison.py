from __future__ import annotations

import csv
import dataclasses
import re
import statistics
import urllib.parse

import keras
import pytest

from l2rw_tf.command_line import settings
from l2rw_tf.comparison.comparison import compare
from l2rw_tf.comparison.jobs import Ended, run_all
from l2rw_tf.comparison.plan import ComparisonConfig, check_directories, choose_rates, plan
from l2rw_tf.comparison.rows import rows as rows_of_results
from l2rw_tf.errors import TrainingDiverged, UsageError
from l2rw_tf.methods import METHODS
from l2rw_tf.report import run_report
from l2rw_tf.runs import results as results_module
from l2rw_tf.runs import run, tables
from l2rw_tf.runs.config import RunConfig
from l2rw_tf.runs.run_directory import RunDirectory
from tests import made_up

SMALL = [
    "--network=mlp",
    "--noise_type=background",
    "--noise_ratio=0.4",
    "--clean_per_class=5",
    "--batch_size=200",
    "--epochs=2",
    "--max_steps=14",
    "--learning_rate=0.02",
    "--deterministic=false",
    "--tensorboard=false",
]


def _plan(directory, *arguments):
    flags = [*SMALL, f"--compare_dir={directory}", *arguments]
    return plan(*settings.from_arguments(flags, ComparisonConfig, RunConfig))


def _here(planned):
    """Does runs in this process."""

    def execute(planned_run, stopping):
        directory = str(planned.run_directory(planned_run))
        try:
            run.run(dataclasses.replace(planned_run.config, run_dir=directory), run_report.write)
        except TrainingDiverged as error:
            return Ended(1, str(error))
        return Ended(0)

    return execute


def _pretended(planned, results, started=None):
    """Writes results instead of training: what `results` gives for a run, or its exit code."""

    def execute(planned_run, stopping):
        if started is not None:
            started.append(planned_run.name)
        result = results(planned_run)
        if isinstance(result, int):
            return Ended(result, "it went wrong.")
        directory = planned.run_directory(planned_run)
        directory.mkdir(parents=True)
        text = "\n".join(planned_run.config.flag_lines())
        (directory / "config.cfg").write_text(text, encoding="utf-8")
        results_module.write(RunDirectory(directory), result)
        return Ended(0)

    return execute


def _result(accuracy, **others):
    chosen = made_up.chosen_epoch(accuracy + 0.01)
    return made_up.run_results(test_accuracy=accuracy, chosen_by_validation=chosen, **others)


def _metrics(planned, planned_run):
    rows = tables.read_metrics(planned.run_directory(planned_run))
    return [row | {"seconds": None} for row in rows]


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """Every method, once, on digits."""
    planned = _plan(
        tmp_path_factory.mktemp("every_method"), f"--methods={','.join(METHODS)}", "--seeds=3"
    )
    assert compare(planned, _here(planned), "the command") == []
    return planned


@pytest.mark.slow
def test_every_method_runs_on_digits(everything):
    with (everything.directory / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert list(rows) == list(METHODS)
    for planned_run in everything.runs.values():
        result = everything.result(planned_run)
        row = rows[planned_run.cell.variant]
        assert result.method == planned_run.cell.variant and result.seed == 3
        assert float(row["test_accuracy_mean"]) == result.test_accuracy
        assert row["test_accuracy_std"] == "" and row["seeds"] == "3"
        assert int(row["steps"]) == result.steps == 14
        assert row["command"] == "the command"
        chosen = result.chosen_by_validation
        assert float(row["chosen_test_accuracy_mean"]) == chosen.test_accuracy
        assert chosen.validation_labels == "corrupted"
        last = _metrics(everything, planned_run)[-1]
        assert last["test_accuracy"] == result.last_epoch.test_accuracy
    figure = everything.directory / "figures" / "comparison.png"
    assert figure.read_bytes().startswith(b"\x89PNG")
    _check_links_to_reports(everything)


def _check_links_to_reports(everything):
    page = (everything.directory / "results.md").read_text(encoding="utf-8")
    links = re.findall(r"\[seed 3\]\((.*)\)", page)
    reports = {everything.directory / urllib.parse.unquote(link) for link in links}
    runs = {everything.run_directory(planned_run) for planned_run in everything.runs.values()}
    assert {path.parent for path in reports} == runs
    assert all("<!DOCTYPE html>" in path.read_text(encoding="utf-8") for path in reports)


@pytest.mark.slow
def test_every_method_leaves_the_bare_network(everything):
    counts = set()
    for planned_run in everything.runs.values():
        path = everything.run_directory(planned_run) / "model.keras"
        network = keras.saving.load_model(path)
        assert all(type(part).__module__.startswith("keras.") for part in network.layers)
        counts.add(network.count_params())
    assert len(counts) == 1


@pytest.mark.slow
def test_the_same_flags_give_the_same_metrics(everything, tmp_path):
    # One method of each part that draws or estimates something.
    methods = ("l2rw", "random", "resample", "s_model_conf")
    again = _plan(tmp_path, f"--methods={','.join(methods)}", "--seeds=3")
    compare(again, _here(again), "the command")
    for planned_run in again.runs.values():
        assert _metrics(again, planned_run) == _metrics(everything, planned_run)


def test_a_table_of_seeds_and_variants(tmp_path, capsys):
    planned = _plan(tmp_path, "--methods=plain,l2rw:meta_variables=head:epochs=1", "--seeds=0,1,5")
    accuracies = {"plain": [0.5, 0.6, 0.9], "l2rw:meta_variables=head:epochs=1": [0.8, 0.8, 0.9]}

    def results(planned_run):
        return _result(
            accuracies[planned_run.cell.variant][(0, 1, 5).index(planned_run.config.seed)]
        )

    assert compare(planned, _pretended(planned, results), "the command") == []
    variant = next(run for run in planned.runs.values() if run.cell.variant.startswith("l2rw:"))
    assert (variant.config.meta_variables, variant.config.epochs) == ("head", 1)
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert page.startswith("```sh\nthe command\n```")
    deviation = 100 * statistics.stdev(accuracies["plain"])
    assert f"| {200 / 3:.2f} ± {deviation:.2f} |" in page
    assert "as noisy as the training labels" in page
    # Per seed 30, 20 and 0 points: variance (13.3² + 3.3² + 16.7²) / 2, over three seeds.
    assert "| difference from plain ± standard error |" in page and " +16.67 ± 8.82 |" in page
    assert "± their standard error (by chance, one in twenty" in page
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"6 runs, 1 at a time: {tmp_path}"
    assert printed[1] == "[1/6] plain, seed 0: test 50.0%, 0 s; about 0 s left"
    assert printed[6].startswith("[6/6]") and "left" not in printed[6]


def test_a_sweep_has_a_column_for_each_value(tmp_path):
    planned = _plan(
        tmp_path, "--methods=plain,gce", "--seeds=0,1", "--sweep=noise_ratio=0,0.1,0.40"
    )
    ratios = {run.config.noise_ratio for run in planned.runs.values()}
    assert ratios == {0.0, 0.1, 0.4} and len(planned.runs) == 12

    def results(planned_run):
        return _result(0.9 - planned_run.config.noise_ratio)

    compare(planned, _pretended(planned, results), "the command")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert re.search(r"\| noise_ratio = \| +0 \| +0.1 \| +0.40 \|", page)
    assert page.count("| gce           | 90.00 ± 0.00 | 80.00 ± 0.00 | 50.00 ± 0.00 |") == 1
    assert page.count("| gce           | 91.00 ± 0.00 | 81.00 ± 0.00 | 51.00 ± 0.00 |") == 1
    assert page.count("Difference from plain of the trained network, ± its standard error:") == 1
    assert page.count("| gce           | +0.00 ± 0.00 | +0.00 ± 0.00 | +0.00 ± 0.00 |") == 1


def test_differences_are_over_the_seeds_that_both_methods_have(tmp_path):
    planned = _plan(tmp_path, "--methods=plain,gce,l2rw", "--seeds=0,1,2")
    accuracies = {"plain": [None, 0.5, 0.6], "gce": [0.9, 0.6, 0.8], "l2rw": [0.9, 0.9, None]}

    def results(planned_run):
        accuracy = accuracies[planned_run.cell.variant][planned_run.config.seed]
        return 1 if accuracy is None else _result(accuracy)

    compare(planned, _pretended(planned, results), "the command")
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    # 10 and 20 points: their standard deviation, 7.07, over the root of 2.
    assert float(rows["gce"]["difference_from_first_method"]) == pytest.approx(0.15)
    assert float(rows["gce"]["difference_standard_error"]) == pytest.approx(0.05)
    # One common seed has no standard error.
    assert rows["plain"]["difference_standard_error"] == ""
    assert rows["l2rw"]["difference_from_first_method"] == ""


def test_without_a_second_seed_there_is_no_column_of_differences(tmp_path):
    planned = _plan(tmp_path, "--methods=plain,gce", "--seeds=0")
    compare(planned, _pretended(planned, lambda planned_run: _result(0.5)), "the command")
    assert "ifference" not in (tmp_path / "results.md").read_text(encoding="utf-8")


def test_a_sweep_whose_first_method_failed_at_a_value_has_no_difference_there(tmp_path):
    planned = _plan(tmp_path, "--methods=plain,gce", "--seeds=0,1", "--sweep=noise_ratio=0,0.1")

    def results(planned_run):
        fails = planned_run.cell.variant == "plain" and planned_run.config.noise_ratio
        return 1 if fails else _result(0.5)

    compare(planned, _pretended(planned, results), "the command")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert re.search(r"\| gce +\| +\+0.00 ± 0.00 \| +– \|", page)


def test_learning_rates_are_chosen_by_the_held_out_labels_of_the_first_seed(tmp_path):
    planned = _plan(tmp_path, "--seeds=4,5,6", "--learning_rates=0.1,0.03,0.01")
    best = {"plain": 0.03, "l2rw": 0.01}

    def results(planned_run):
        chosen = planned_run.config.learning_rate == best[planned_run.cell.variant]
        # The test data would have chosen another.
        return _result(0.1 if chosen else 0.9, validation_accuracy=0.7 if chosen else 0.2)

    started = []
    compare(planned, _pretended(planned, results, started), "the command")
    trials = [name for name in started if name.endswith("seed=4")]
    assert len(trials) == 6 and started[:6] == trials
    others = {f"{v}-learning_rate={best[v]}-seed={s}" for v in best for s in (5, 6)}
    assert set(started[6:]) == others and len(started) == 10
    with (tmp_path / "results.csv").open(encoding="utf-8") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert {name: float(row["learning_rate"]) for name, row in rows.items()} == best
    assert rows["plain"]["seeds"] == "4 5 6"


def test_finished_runs_are_kept_and_unfinished_ones_done(tmp_path):
    planned = _plan(tmp_path, "--seeds=0,1")
    started = []

    def stopped(planned_run):
        if len(started) == 3:
            raise KeyboardInterrupt
        return _result(0.5)

    with pytest.raises(KeyboardInterrupt):
        compare(planned, _pretended(planned, stopped, started), "the command")
    table = (tmp_path / "results.csv").read_text(encoding="utf-8")
    assert table.count("\n") == 3
    done = started[:2]

    check_directories(planned)
    again = []
    compare(planned, _pretended(planned, lambda planned_run: _result(0.5), again), "the command")
    assert sorted(done + again) == sorted(run.name for run in planned.runs.values())


def test_runs_that_fail_are_told_and_the_others_are_shown(tmp_path, capsys):
    planned = _plan(tmp_path, "--methods=plain,gce", "--seeds=0,1")

    def results(planned_run):
        return (
            1
            if planned_run.cell.variant == "gce" and planned_run.config.seed == 1
            else _result(0.5)
        )

    incomplete = compare(planned, _pretended(planned, results), "the command")
    assert incomplete == ["gce has 1 of 2 runs: it went wrong."]
    assert "failed: it went wrong." in capsys.readouterr().out
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "gce-learning_rate=0.02-seed=1 failed: it went wrong." in page


@pytest.mark.slow
def test_a_learning_rate_that_fails_is_not_chosen(tmp_path):
    planned = _plan(tmp_path, "--methods=plain", "--seeds=0,1", "--learning_rates=1e25,0.02")
    assert compare(planned, _here(planned), "the command") == []
    (row,) = rows_of_results(planned, {planned.cells[0]: 0.02})
    assert list(row.results) == [0, 1]
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "learning_rate=1e+25-seed=0 failed: The plain training stopped at step 2" in page


def test_data_that_cannot_be_used_ends_the_comparison(tmp_path):
    planned = _plan(tmp_path, "--seeds=0,1")
    started = []
    with pytest.raises(UsageError, match="plain-learning_rate=0.02-seed=0: it went wrong"):
        compare(planned, _pretended(planned, lambda planned_run: 2, started), "the command")
    assert len(started) == 1


def test_held_out_examples_are_needed_to_choose_a_learning_rate(tmp_path):
    """Which a small validation_fraction does not give."""
    planned = _plan(tmp_path, "--seeds=0", "--learning_rates=0.1,0.01")
    started = []
    results = _pretended(
        planned, lambda planned_run: _result(0.5, validation_accuracy=None), started
    )
    with pytest.raises(UsageError, match="validation_fraction=0.1 is too small"):
        compare(planned, results, "the command")
    assert len(started) == 1
    with pytest.raises(UsageError, match="held-out"):
        choose_rates(planned)


def test_runs_of_other_settings_are_not_mixed_in(tmp_path):
    planned = _plan(tmp_path, "--methods=plain")
    compare(planned, _pretended(planned, lambda planned_run: _result(0.5)), "the command")
    harmless = ("--tensorboard", "--keep_checkpoints=1", "--checkpoint_minutes=5")
    check_directories(_plan(tmp_path, "--methods=gce,plain", "--seeds=0,7", *harmless))
    check_directories(_plan(tmp_path, "--methods=plain", "--fallback_dataset=mnist"))
    with pytest.raises(UsageError, match=r"plain-.*-seed=0 .* epochs \(2 there, 3 here\)"):
        check_directories(_plan(tmp_path, "--methods=plain", "--epochs=3"))


def test_unfinished_runs_that_cannot_be_resumed_are_told_before_any_is_begun(tmp_path):
    planned = _plan(tmp_path, "--methods=plain", "--seeds=0,1")
    first, second = planned.runs.values()
    directory = RunDirectory(planned.run_directory(second))
    directory.write_flags([*second.config.flag_lines(), "--clipnorm=1"])
    with pytest.raises(UsageError, match=f"{re.escape(second.name)} .* clipnorm"):
        check_directories(planned)
    directory.write_flags(second.config.flag_lines())
    check_directories(planned)
    stranger = planned.run_directory(first)
    stranger.mkdir()
    (stranger / "thesis.tex").touch()
    with pytest.raises(UsageError, match=f"{re.escape(str(stranger))} holds files"):
        check_directories(planned)


def test_runs_are_stopped_whatever_happens(tmp_path):
    """No more are begun than at a time, and those begun are told to stop and waited for."""
    planned = _plan(tmp_path, "--seeds=0,1,2,3")
    started, stopped = [], []

    def execute(planned_run, stopping):
        started.append(planned_run.name)
        if len(started) == 2:
            return Ended(0)
        assert stopping.wait(60)
        stopped.append(planned_run.name)
        return Ended(3)

    def finished(planned_run, ended):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all(list(planned.runs.values()), execute, 2, finished)
    assert len(started) == 2 and stopped == started[:1]


def test_a_damaged_result_is_named(tmp_path):
    planned = _plan(tmp_path, "--methods=plain", "--seeds=0")
    compare(planned, _pretended(planned, lambda planned_run: _result(0.5)), "the command")
    (path,) = tmp_path.glob("runs/*/results.json")
    path.write_text("{", encoding="utf-8")
    with pytest.raises(UsageError, match="results.json cannot be used"):
        check_directories(planned)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--methods=plan"], ["methods must be among", "'plan'", "did you mean plain?"]),
        (["--methods="], ["methods is empty"]),
        (["--methods=plain,plain"], ["methods must not repeat", "plain,plain"]),
        (["--methods=l2rw:meta_variable=head"], ["--meta_variable is not a flag"]),
        (["--methods=l2rw:meta_variables=tail"], ["meta_variables must be one of", "'tail'"]),
        (["--methods=plain:seed=3"], ["plain:seed=3 cannot set seed", "--seeds"]),
        (["--methods=plain:"], ["plain:", "METHOD:FLAG=VALUE"]),
        (["--seeds=0,x"], ["--seeds=0,x", "whole numbers"]),
        (["--seeds=0,-1"], ["seeds", "at least 0", "-1"]),
        (["--sweep=noise=1"], ["sweep must be FLAG=VALUE", "'noise=1'", "did you mean noise_"]),
        (["--sweep=noise_ratio"], ["sweep needs different values after noise_ratio="]),
        (["--sweep=noise_ratio=0.1,0.1"], ["sweep needs different values"]),
        (["--sweep=noise_ratio=0.1,1.1"], ["noise_ratio", "between 0 and 1", "1.1"]),
        (["--sweep=method=plain"], ["sweep cannot set method", "--methods"]),
        (["--sweep=epochs=1,2", "--methods=plain:epochs=3"], ["cannot set epochs", "swept"]),
        (
            ["--learning_rates=1,2", "--sweep=learning_rate=3"],
            ["sweep cannot set learning_rate", "--learning_rates"],
        ),
        (["--learning_rates=1,2", "--validation_fraction=0"], ["held-out", "validation_fraction"]),
        (["--learning_rates=0"], ["learning_rates", "above 0"]),
        (["--jobs=0"], ["jobs", "at least 1"]),
    ],
    ids=lambda value: " ".join(value)[:50],
)
def test_unusable_comparisons_are_named(arguments, parts):
    with pytest.raises(UsageError) as caught:
        _plan("somewhere", *arguments)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
