"""Where examples come from, what they contain, and both as text."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2rw_tf.data import examples, origins


@pytest.mark.parametrize("x", [np.arange(12, dtype=np.float32).reshape(3, 4), np.eye(300)])
def test_a_hash_of_the_content(x):
    y = np.zeros(len(x), np.int64)
    hashes = origins.content_hash(examples.examples_from(x, y))
    one = x[-1]
    expected = hashlib.sha256(f"{one.dtype.str}{one.shape}".encode() + one.tobytes()).hexdigest()
    assert hashes.shape == (len(x),) and hashes[-1] == expected[:16]
    assert len(set(hashes)) == len(x)
    other_labels = examples.examples_from(x[::-1], y + 1)
    np.testing.assert_array_equal(origins.content_hash(other_labels), hashes[::-1])
    assert origins.content_hash(examples.examples_from(x.reshape(len(x), -1, 1), y))[0] != hashes[0]


def test_hashes_that_are_known_go_with_their_examples():
    every = examples.examples_from(np.eye(5, dtype=np.float32), np.arange(5))
    some = origins.with_contents(every).take([3, 1]).with_labels(np.array([0, 0]))
    np.testing.assert_array_equal(some.contents, origins.content_hash(every.take([3, 1])))
    assert origins.content_hash(some) is some.contents and every.contents is None
    both = origins.with_contents(every).followed_by(some)
    np.testing.assert_array_equal(both.contents[5:], some.contents)
    assert both.y.tolist() == [0, 1, 2, 3, 4, 0, 0] and both.true_y.tolist() == [*range(5), 3, 1]
    assert every.followed_by(some).contents is None


@given(st.text())
def test_a_cell_is_one_line_that_no_spreadsheet_calculates_and_reads_back(text):
    cell = origins.cell(text)
    assert origins.text_of(cell) == text
    assert "\n" not in cell and "\r" not in cell and cell[:1] not in set("=+-@\t")


@pytest.mark.parametrize("text", ["cat", "./train/cat/001.jpg", "'quoted'", "index 17", "a=b", ""])
def test_other_cells_stay(text):
    assert origins.cell(text) == text == origins.text_of(text)


@pytest.mark.parametrize(
    ("several", "are"),
    [
        (["./a/1.png", "./b/table.csv:17/2.png"], True),
        (["./table.csv:17"], False),
        (["./TABLE.CSV:17"], False),
        (["index 3"], False),
        ([], False),
    ],
)
def test_files_of_their_own(several, are):
    assert origins.are_files(several) == are
