"""From a finished run to its report.html."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.methods import METHODS
from l2rw_tf.report import page as report
from l2rw_tf.runs import words
from l2rw_tf.runs.config import RunConfig
from l2rw_tf.runs.example_table import class_logits
from l2rw_tf.runs.run_directory import RunDirectory
from l2rw_tf.runs.training import Training


def write(
    directory: RunDirectory,
    config: RunConfig,
    data: PreparedData,
    heading: str,
    trainings: Mapping[str, tuple[Training, Mapping[str, Any]]],
    examples: Mapping[str, np.ndarray],
) -> None:
    """Writes report.html; where it cannot be drawn, says so on standard error and goes on.

    Args:
        directory: The run's directory.
        config: Its settings.
        data: What it trained on.
        heading: Data, noise and seed in words.
        trainings: By method, the run's own last: the training and what results.json holds of it.
        examples: The table of the training examples by column, with label quality, each (n,).

    Raises:
        OSError: If the file cannot be written.
    """
    try:
        page = report.page(
            report.Report(
                heading=heading,
                summary=METHODS[config.method].summary,
                noise=words.noise_in_words(config, None),
                trainings={
                    method: report.ReportedTraining(
                        METHODS[method].title, trained.epochs, results, _confusion(trained, data)
                    )
                    for method, (trained, results) in trainings.items()
                },
                settings=config.flag_lines(),
                batch_size=config.batch_size,
                inputs=data.splits.train.x,
                feature_names=data.source.feature_names,
                examples=examples,
            )
        )
    except Exception as error:
        # Hours of training are not to be lost for a picture.
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"l2rw: report.html could not be made: {reason}", file=sys.stderr, flush=True)
        return
    directory.write_text("report.html", page)


def _confusion(trained: Training, data: PreparedData) -> np.ndarray:
    """Counts the test examples by true (rows) and predicted class."""
    from sklearn.metrics import confusion_matrix

    test = data.splits.test
    logits = class_logits(trained.network, test, data.preprocessing)
    return confusion_matrix(test.y, logits.argmax(axis=1), labels=range(data.source.num_classes))
