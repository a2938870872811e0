"""Writes report.html and figures/accuracy.png from the directory of a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from l2rw_tf import quality
from l2rw_tf.data import corrections
from l2rw_tf.data.examples import Examples
from l2rw_tf.report import page, pictures
from l2rw_tf.runs import results as run_results
from l2rw_tf.runs import tables
from l2rw_tf.runs.results import RunResults
from l2rw_tf.runs.run_directory import RunDirectory


def write(
    directory: RunDirectory,
    results: RunResults,
    examples: Examples,
    feature_names: Sequence[str],
) -> None:
    """Writes the report; if rendering fails, only prints a line to standard error.

    Args:
        directory: The run's directory, with config.cfg, metrics.csv and examples.csv.
        results: The results of the run, which are not written yet.
        examples: The training examples.
        feature_names: A name for each feature; empty for images.

    Raises:
        OSError: If a file cannot be written.
    """
    given = directory.path / corrections.NAME
    reviewed = directory.path / run_results.REVIEWED
    try:
        with pictures.style():
            table = tables.read_examples(directory.path, len(results.class_names))
            report = page.Report(
                results=results,
                metrics=tables.read_metrics(directory.path),
                settings=directory.read_config(),
                examples=quality.ranked(quality.with_quality(table, results.is_ranked_by_plain)),
                training=examples,
                feature_names=feature_names,
                name=directory.path.resolve().name,
                corrections=corrections.read(str(given)) if given.exists() else (),
                reviewed=run_results.read(directory.path, run_results.REVIEWED)
                if reviewed.exists()
                else None,
                clean_examples=tables.read_clean_examples(directory.path, len(results.class_names)),
            )
            chart = page.accuracy_curves(report, heading=results.heading)
            directory.save_figure("accuracy.png", chart.figure)
            directory.write_text("report.html", page.page(report))
    except OSError:
        raise
    except Exception as error:
        # A failing chart must not cost hours of training.
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"l2rw: report.html could not be written: {reason}", file=sys.stderr, flush=True)
