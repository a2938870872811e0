"""Settings of the data: the data set, simulated class imbalance and label noise, and splits."""

from __future__ import annotations

import dataclasses
import functools

from l2rw_tf.command_line.settings import Settings, setting
from l2rw_tf.errors import UsageError

_data = functools.partial(setting, group="Data")
_imbalance = functools.partial(setting, group="Class imbalance")
_labels = functools.partial(setting, group="Noisy labels")
_splits = functools.partial(setting, group="Splits")

DEFAULT_CLEAN_PER_CLASS = 10

# The labels of the test data: true ones, those of held-out trusted examples (which are then the
# test data), or given ones that may be wrong.
TRUE, TRUSTED, AS_GIVEN = "true", "trusted", "as given"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings(Settings):
    """The settings of `prepared_data.prepare`."""

    dataset: str = _data(
        "digits",
        "Data to train on: digits (embedded), the name of a data set of TensorFlow Datasets, a "
        "folder of images, or a .csv or .npz file. Data sets of TensorFlow Datasets are those of "
        "image classification (mnist, fashion_mnist, cifar10, cifar100, ...); a folder has one "
        "sub-folder per class; files hold numeric features.",
        is_common=True,
    )
    # Runs are compared by the data that they read, not by why they read it.
    fallback_dataset: str = _data(
        "",
        "Data set to use if --dataset is not found locally and cannot be downloaded. Empty: this "
        "is an error.",
        affects_result=False,
    )
    data_dir: str = _data(
        "",
        "Directory of data prepared by TensorFlow Datasets. Empty: TFDS_DATA_DIR, or the default "
        "of TensorFlow Datasets.",
        affects_result=False,
    )
    label_column: str = _data(
        "",
        "Column (CSV file), array (.npz file) or feature (TensorFlow Datasets) of the labels. "
        "Empty: the usual or only one (label in a CSV file).",
    )
    true_label_column: str = _data(
        "",
        "Column, array or feature of the true labels, if known: clean examples and test data use "
        "them, and the audit is scored against them. It is never an input.",
    )
    ignore_columns: tuple[str, ...] = _data(
        (), "Columns of a CSV file that are neither inputs nor labels."
    )
    bad_files: str = _data(
        "stop",
        "What to do if files of a folder cannot be read as images: list them and stop (stop), or "
        "list them and leave them out (skip).",
        choices=("stop", "skip"),
    )
    image_size: int | None = _data(
        None,
        "Height and width in pixels that all images are scaled to. Default: not scaled; all images "
        "must have the same size.",
        at_least=1,
        at_most=4096,
    )
    classes: tuple[str, ...] = _data(
        (),
        "Classes to use, by number or name, such as 4,9; they are renumbered from 0 in this order. "
        "Empty: all.",
    )

    imbalance_type: str = _imbalance(
        "none",
        "Simulated class imbalance, by leaving out training and validation examples: one of two "
        "classes dominates (two_class), or class sizes fall geometrically (long_tailed).",
        choices=("none", "two_class", "long_tailed"),
    )
    imbalance_ratio: float = _imbalance(
        1.0,
        "Size of the largest class divided by that of the smallest; if the larger of two classes "
        "has a fraction p of the examples, p / (1 - p).",
        at_least=1,
    )
    dominating_class: int = _imbalance(
        0, "The larger class of two, numbered as --classes orders them.", at_least=0, at_most=1
    )
    num_examples: int | None = _imbalance(
        None, "Number of training examples to keep. Default: as many as possible.", at_least=1
    )

    noise_type: str = _labels(
        "none",
        "Simulated label noise in the training and validation data. Labels change to any other "
        "class (uniform), to one class (background), to the next class (pair), or by --noise_map "
        "(asymmetric); none is for data whose labels are wrong already.",
        choices=("none", "uniform", "background", "pair", "asymmetric"),
        is_common=True,
    )
    noise_ratio: float | None = _labels(
        None,
        "Fraction of labels chosen for noise; required by --noise_type. For asymmetric noise, the "
        "fraction of the labels of the classes in its map.",
        at_least=0,
        at_most=1,
        is_common=True,
    )
    noise_map: tuple[str, ...] = _labels(
        (),
        "Label changes of asymmetric noise, such as 9:1,2:0 (9 to 1, 2 to 0). Empty: the usual map "
        "of cifar10 or cifar100.",
    )
    background_class: int = _labels(
        0, "The class that background noise changes labels to.", at_least=0
    )
    flip_may_keep: bool = _labels(
        False, "Lets uniform noise draw the true class too, as the paper's published code does."
    )
    clean_noise_ratio: float = _labels(
        0.0,
        "Fraction of the clean examples whose label is changed to any other class, to measure the "
        "effect of errors in the trusted examples.",
        at_least=0,
        at_most=1,
    )

    labels_are_right: bool = _labels(
        False,
        "Declares that all given labels are right, so that clean examples can be taken from the "
        "data. Implied by --noise_type, which makes some labels wrong itself.",
    )
    test_labels_are_right: bool = _labels(
        False,
        "Declares that the labels of the test data (FOLDER/test, a test split) were checked and "
        "are right. Otherwise they may be wrong, like those of the training data, and accuracy is "
        "measured on trusted examples instead, or not at all.",
    )

    clean_data: str = _splits(
        "",
        "Trusted examples, whose labels are known to be right: a folder, a file, a list of "
        "training examples, or a split. A folder has CLASS/IMAGE; a .csv or .npz file is like "
        "--dataset; a text file lists training examples that are right (files or ids, one per "
        "line; they leave the training data); a split is one of a data set of TensorFlow Datasets "
        "(cifar10:test). Empty: FOLDER/clean next to FOLDER/train, if it exists; otherwise "
        "examples are held out of the training data, if their labels are right.",
        is_common=True,
    )
    clean_per_class: int | None = _splits(
        None,
        "Number of clean examples per class, held out of the training data. Default: "
        f"{DEFAULT_CLEAN_PER_CLASS}, unless --num_clean is given; all if there are trusted "
        "examples.",
        at_least=1,
    )
    num_clean: int | None = _splits(
        None, "Total number of clean examples; an alternative to --clean_per_class.", at_least=1
    )
    balanced_clean: bool = _splits(
        True, "Balances the --num_clean clean examples over the classes."
    )
    clean_in_train: bool = _splits(
        False,
        "Keeps the clean examples in the training data too, where they may be corrupted.",
    )
    validation_fraction: float = _splits(
        0.1,
        "Fraction of the training data held out for validation; its labels are corrupted like the "
        "training labels. 0: no validation.",
        at_least=0,
        below=1,
    )
    # The last file of several rounds of corrections has all: the report includes earlier ones.
    corrections: str = _splits(
        "",
        "corrections.csv, as saved by report.html: a reviewer's decisions on the labels of "
        "training examples. Its columns are origin, content_hash, given_label, decision (right, "
        "other, unusable or undecided) and label. Confirmed and corrected examples move from the "
        "training data to the clean data; unusable ones are removed.",
        is_common=True,
    )
    test_fraction: float = _splits(
        0.25,
        "Fraction of the data held out for testing if it has no test data.",
        above=0,
        below=1,
    )
    trusted_test_fraction: float = _splits(
        0.25,
        "Fraction of the given trusted examples of each class, rounded down, held out to measure "
        "accuracy if the labels of the test data may be wrong. The same examples are held out for "
        "every seed and in every round of corrections. 0: none.",
        at_least=0,
        below=1,
    )

    def check_together(self) -> None:
        """Checks settings that depend on each other."""
        if not self.dataset:
            raise UsageError("dataset is empty: name a data set, a folder of images or a file.")
        if self.clean_per_class is not None and self.num_clean is not None:
            raise UsageError(
                f"clean_per_class={self.clean_per_class} and num_clean={self.num_clean} were both "
                "given: give one of them."
            )
        if self.imbalance_type == "none" and self.imbalance_ratio > 1:
            raise UsageError(
                f"imbalance_ratio={self.imbalance_ratio:g} needs an imbalance_type: two_class or "
                "long_tailed, got none."
            )
        if self.noise_type == "none" and self.noise_ratio:
            raise UsageError(
                f"noise_ratio={self.noise_ratio:g} needs a noise_type: uniform, background, pair "
                "or asymmetric, got none."
            )
        if self.labels_are_right and self.true_label_column:
            raise UsageError(
                f"labels_are_right and true_label_column={self.true_label_column} contradict each "
                "other: give one of them."
            )
        if self.clean_in_train and self.clean_data:
            raise UsageError(
                "clean_in_train cannot be used with clean_data: trusted examples are not trained "
                "on."
            )
