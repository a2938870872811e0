from __future__ import annotations

import numpy as np

from l2rw_tf.data import duplicates
from l2rw_tf.data.examples import examples_from

NAMES = ("cat", "dog")


def part(pictures, y, prefix):
    x = np.zeros((len(y), 2, 3, 1), np.uint8) + np.array(pictures, np.uint8)[:, None, None, None]
    return examples_from(x, np.array(y), origins=[f"./{prefix}/{i}.png" for i in range(len(y))])


def test_the_same_picture_in_two_classes_or_in_training_and_test_data_is_listed():
    found = duplicates.find(
        {
            # 1 in both classes, 2 twice in one class, 3 and 4 once.
            "training": part([1, 1, 2, 2, 3, 4], [0, 1, 0, 0, 1, 1], "train"),
            "validation": part([9, 8], [0, 1], "val"),
            "test": part([5, 3, 6, 6], [1, 1, 0, 0], "test"),
            "clean": part([8, 7], [0, 1], "clean"),
        },
        NAMES,
    )
    places = [(where, name, origin) for _, where, name, origin in found.rows]
    assert sorted(places) == sorted(
        [
            ("training", "cat", "./train/0.png"),
            ("training", "dog", "./train/1.png"),
            ("training", "dog", "./train/4.png"),
            ("test", "dog", "./test/1.png"),
            ("validation", "dog", "./val/1.png"),
            ("clean", "cat", "./clean/0.png"),
        ]
    )
    # The rows of one image are together.
    assert [row[0] for row in found.rows[::2]] == [row[0] for row in found.rows[1::2]]
    classes, parts = found.notes
    assert "in several classes: 2 images" in classes
    assert "./train/0.png = ./train/1.png" in classes and "./val/1.png = ./clean/0.png" in classes
    assert "test or clean data: 2 images" in parts and "./train/4.png = ./test/1.png" in parts


def test_without_duplicates_nothing_is_said():
    one = {"training": part([1, 2, 2], [0, 1, 1], "train"), "test": part([3], [0], "test")}
    assert duplicates.find(one, NAMES) == duplicates.Duplicates()
