"""The cost of wrong labels among the clean examples, and how many of these the report finds.

    python -m l2rw_tf.compare --flagfile=configs/dirty_clean_digits.cfg
    python -m benchmarks.dirty_clean runs/compare-dirty_clean_digits

Prints, for each method and fraction of wrong clean labels, the mean test accuracy and its standard
deviation over the seeds, and the numbers of clean examples that are wrong, that are called doubtful
(`clean_examples.csv`), and that are both, summed over the seeds.
"""

from __future__ import annotations

import collections
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from l2rw_tf.runs import results, tables
from l2rw_tf.runs.run_directory import RunDirectory

HEAD = ("method", "wrong clean labels", "test accuracy", "wrong", "doubtful", "doubtful and wrong")


def rows(comparison: Path) -> list[tuple[str, ...]]:
    """Returns a row per method and fraction of wrong clean labels."""
    found = collections.defaultdict(list)
    for path in sorted((comparison / "runs").iterdir()):
        run, settings = results.read(path), RunDirectory(path).read_config()
        method = run.method + (" (head)" if settings.get("meta_variables") == "head" else "")
        found[method, float(settings.get("clean_noise_ratio", 0))].append((path, run))
    table = []
    for (method, ratio), runs in sorted(found.items()):
        accuracies = [100 * run.test_accuracy for _, run in runs]
        counts = np.zeros(3, np.int64)
        for path, run in runs:
            clean = tables.read_clean_examples(path, len(run.class_names))
            wrong = clean["given_label"] != clean.get("true_label", clean["given_label"])
            doubtful = clean["doubtful"] == 1
            counts += [wrong.sum(), doubtful.sum(), (wrong & doubtful).sum()]
        spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
        accuracy = f"{statistics.fmean(accuracies):.1f} ± {spread:.1f}"
        table.append((method, f"{100 * ratio:g}%", accuracy, *map(str, counts)))
    return table


def main(arguments: Sequence[str]) -> int:
    """Prints the table of a comparison."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    for line in (HEAD, ["---"] * len(HEAD), *rows(Path(arguments[0]))):
        print("| " + " | ".join(line) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
