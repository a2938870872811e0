from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from l2rw_tf.data import corrections, prepared_data
from l2rw_tf.data.corrections import Correction
from l2rw_tf.data.examples import Examples
from l2rw_tf.data.origins import content_hash
from l2rw_tf.data.settings import DataSettings
from l2rw_tf.errors import UsageError

NAMES = ("001", "002", "=cat", '\'tis, "so"')
ORIGINS = np.array([f"./train/{name}.png" for name in "abcdef"])


def _examples():
    x = np.arange(6, dtype=np.float32)[:, None]
    return Examples(x, np.array([0, 0, 1, 1, 2, 3]), None, np.arange(6), ORIGINS)


HASHES = content_hash(_examples())


def _row(letter, decision, given="", label="", content_hash="", line=0):
    return Correction(f"./train/{letter}.png", content_hash, given, decision, label, line)


def _apply(rows, **changes):
    options = {
        "class_names": NAMES,
        "given_are_own": True,
        "source": "corrections=c.csv",
    }
    rows = [dataclasses.replace(row, line=line) for line, row in enumerate(rows, 2)]
    # An example beside the training data may be called like one of it.
    options["trusted_origins"] = ["./train/t.png", "./train/a.png"]
    return corrections.applied(_examples(), rows, **(options | changes))


def test_decided_examples_leave_and_the_trusted_ones_have_the_decided_labels():
    found = _apply(
        [
            _row("e", "other", "=cat", '\'tis, "so"', HASHES[4]),
            _row("a", "right", "001", "001", HASHES[0].upper()),
            _row("a", "right", "001", "001", HASHES[0]),
            _row("b", "undecided", "001"),
            _row("c", "unusable", "002"),
        ]
    )
    assert found.examples.ids.tolist() == [1, 3, 5]
    assert found.trusted.ids.tolist() == [0, 4] and found.trusted.y.tolist() == [0, 3]
    assert found.trusted.true_y is None
    assert found.counts == {"right": 1, "other": 1, "unusable": 1, "undecided": 1}


def test_labels_that_were_corrupted_after_reading_are_reviewed_as_they_were_given():
    rows = [_row("a", "other", "002", "001"), _row("c", "right", "001")]
    found = _apply(rows, given_are_own=False)
    # The second decision is a mistake, which the truth on record shows.
    assert found.trusted.y.tolist() == [0, 0] and found.trusted.true_y.tolist() == [0, 1]
    with pytest.raises(UsageError, match="reviewed with the label '002'.*is '001' now"):
        _apply(rows)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (_row("z", "right"), "no training example comes from './train/z.png'"),
        (_row("t", "right"), "t.png is a trusted example already"),
        (_row("a", "wrong"), "'wrong' is not one of right, other, unusable, undecided"),
        (_row("a", "other"), "the cell label is empty"),
        (_row("a", "other", "", "dog"), "no class 'dog': classes are named, as in"),
        (_row("a", "right", "001", "002"), "the decision is right, but"),
        (_row("a", "other", "1", "001"), "the decision is other, but"),
        (_row("b", "right", "", "", HASHES[0].upper()), "which ./train/a.png has now"),
        (_row("b", "right", "", "", "0" * 16), "is not what was reviewed"),
    ],
)
def test_a_row_that_does_not_fit_is_named(row, words):
    with pytest.raises(UsageError) as refused:
        _apply([_row("f", "right"), row])
    assert "1 of 2 rows" in str(refused.value) and "line 3" in str(refused.value)
    assert words in str(refused.value)


def test_all_rows_that_do_not_fit_are_in_one_message():
    rows = [
        _row("a", "right"),
        _row("x", "right"),
        _row("a", "other", "", "002"),
        _row("y", "unusable"),
        _row("b", "undecided"),
        _row("b", "unusable"),
    ]
    with pytest.raises(UsageError) as refused:
        _apply(rows)
    assert "3 of 6 rows" in str(refused.value)
    assert [line[:9] for line in str(refused.value).splitlines()[1:]] == [
        f"  line {line}:"[:9] for line in (3, 4, 5)
    ]
    assert "other (002) here and right in line 2" in str(refused.value)
    with pytest.raises(UsageError, match="another data set"):
        _apply([_row("x", "right"), _row("y", "right")])
    with pytest.raises(UsageError, match="no class 'dog'") as refused:
        _apply([_row("a", "other", "", "dog"), _row("b", "other", "", "dog")])
    assert "data set" not in str(refused.value)
    for rows in ([], [_row("a", "undecided")]):
        with pytest.raises(UsageError, match="no row has a decision"):
            _apply(rows)


def test_what_is_written_for_spreadsheets_is_read_back(tmp_path):
    rows = [_row("a", "right", name, name, HASHES[0]) for name in NAMES]
    path = tmp_path / "corrections.csv"
    path.write_text(corrections.as_csv(rows), encoding="utf-8")
    cells = path.read_text(encoding="utf-8")
    assert ",'=cat," in cells and ",\"'tis, " in cells
    names = corrections._Names(NAMES)
    read = corrections.read(str(path))
    path.write_text(corrections.as_csv(read), encoding="utf-8")
    assert corrections.read(str(path)) == read
    assert [names.label(row.label) for row in read] == [0, 1, 2, 3]
    assert [row.origin for row in read] == [row.origin for row in rows]


def test_what_a_spreadsheet_makes_of_the_file_is_understood(tmp_path, monkeypatch):
    digits = "1234567890123456"
    monkeypatch.setattr(
        corrections, "content_hash", lambda some: np.array([digits, *HASHES[1:]])[some.ids]
    )
    path = tmp_path / "corrections.csv"
    path.write_bytes(
        b"\xef\xbb\xbfDecision;ORIGIN;content_hash;given_label;label;note\r\n"
        b"Right;./train/a.png;1.23457E+15;1;1;\r\n"
        b" OTHER ;train/b.png;;1;2\r\n;;;;;\r\n"
    )
    rows = corrections.read(str(path))
    assert [row.decision for row in rows] == ["right", "other"]
    assert _apply(rows).trusted.y.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has none"),
        (b"origin,label\n", "needs one column 'decision'"),
        (b"origin,decision\n\xff\n", "not text in UTF-8"),
        (b"origin,origin,decision\n", "'origin'"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(tmp_path, content, words):
    path = tmp_path / "c.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        corrections.read(str(path))
    with pytest.raises(UsageError, match="cannot be read"):
        corrections.read(str(tmp_path / "missing.csv"))


@pytest.mark.parametrize("clean_in_train", [False, True])
def test_the_split_and_the_noise_stay_and_reviewed_examples_change_sides(
    blobs, tmp_path, clean_in_train
):
    settings = DataSettings(
        noise_type="uniform",
        noise_ratio=0.4,
        clean_per_class=2,
        validation_fraction=0.2,
        clean_in_train=clean_in_train,
    )
    before = prepared_data.prepare(settings, 3)
    train, held_out = before.splits.train, before.splits.validation
    only = train.take(np.flatnonzero(~np.isin(train.ids, before.splits.clean.ids)))
    reviewed = [*only.ids[:9], held_out.ids[0]]
    path = tmp_path / "c.csv"
    rows = [
        Correction(
            f"index {one}",
            content_hash(blobs.train.take([one])).item(),
            "",
            "unusable" if place == 0 else "other",
            blobs.class_names[blobs.train.y[one]],
        )
        for place, one in enumerate(reviewed)
    ]
    path.write_text(corrections.as_csv(rows), encoding="utf-8")
    after = prepared_data.prepare(dataclasses.replace(settings, corrections=str(path)), 3)
    parts = after.splits
    assert set(parts.clean.ids) == {*before.splits.clean.ids, *reviewed[1:]}
    np.testing.assert_array_equal(parts.clean.y, blobs.train.y[parts.clean.ids])
    np.testing.assert_array_equal(parts.clean.x, blobs.train.x[parts.clean.ids])
    given = dict(zip(train.ids.tolist(), train.y.tolist(), strict=True))
    gone = {reviewed[0]} if clean_in_train else set(reviewed)
    there = set(given) - gone | ({held_out.ids[0]} if clean_in_train else set())
    assert set(parts.train.ids) == there and reviewed[-1] not in parts.validation.ids
    for one, label in zip(parts.train.ids.tolist(), parts.train.y.tolist(), strict=True):
        assert label == (blobs.train.y[one] if one in reviewed else given[one])
    np.testing.assert_array_equal(parts.train.true_y, blobs.train.y[parts.train.ids])
    np.testing.assert_array_equal(parts.test.ids, before.splits.test.ids)
    assert after.corrected["other"] == 9 and len(after.corrections) == 10


def test_what_was_reviewed_can_be_all_that_is_known_to_be_right(blobs, tmp_path):
    settings = DataSettings(validation_fraction=0.2)
    before = prepared_data.prepare(settings, 3)
    assert not before.clean_is_right
    path = tmp_path / "c.csv"
    reviewed = before.splits.train.take(np.arange(12))
    rows = [Correction(one, "", "", "right", "") for one in reviewed.origins]
    path.write_text(corrections.as_csv(rows), encoding="utf-8")
    after = prepared_data.prepare(dataclasses.replace(settings, corrections=str(path)), 3)
    assert after.clean_is_right and after.corrected["right"] == 12
    np.testing.assert_array_equal(after.splits.clean.ids, reviewed.ids)
    assert not set(after.splits.train.ids) & set(reviewed.ids)
    np.testing.assert_array_equal(after.splits.validation.ids, before.splits.validation.ids)
    np.testing.assert_array_equal(after.splits.test.ids, before.splits.test.ids)
