from __future__ import annotations

import numpy as np
import pytest

from l2rw_tf.data.examples import Examples, Source, examples_from


def labelled(y, width: int = 3) -> Examples:
    """Rows that each hold their own position, so that a mix-up of rows and labels shows."""
    y = np.asarray(y, np.int64)
    x = np.repeat(np.arange(len(y), dtype=np.float32)[:, None], width, axis=1)
    return examples_from(x, y)


@pytest.fixture
def table() -> Source:
    """1,000 rows of 4 classes of different sizes, without a test part."""
    y = np.random.default_rng(0).choice(4, 1000, p=[0.1, 0.2, 0.3, 0.4])
    return Source("made", labelled(y), None, ("a", "b", "c", "d"), "table")


@pytest.fixture
def table_with_test(table: Source) -> Source:
    """The same with 100 rows for testing."""
    return Source("made", table.train, labelled(np.arange(100) % 4), table.class_names, "table")
