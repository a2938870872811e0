"""Files of numbers with labels: CSV and NumPy .npz."""

from __future__ import annotations

from collections.abc import Sequence

from l2rw_tf.data.csv_files import load_csv
from l2rw_tf.data.examples import Source
from l2rw_tf.data.npz_files import load_npz


def can_read(dataset: str) -> bool:
    """Returns whether a name is that of a CSV or .npz file, which may not exist."""
    return dataset.lower().endswith((".csv", ".npz"))


def read(
    dataset: str,
    *,
    label_column: str = "",
    true_label_column: str = "",
    ignore_columns: Sequence[str] = (),
    **others: object,
) -> Source:
    """Reads a file; see `load_csv` and `load_npz`."""
    if dataset.lower().endswith(".csv"):
        return load_csv(dataset, label_column, true_label_column, ignore_columns)
    return load_npz(dataset, label_column, true_label_column)
