"""What a run trains on: the data set, how it is made uneven and wrong, and how it is split."""

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

# What the labels of the test data are: true, those of held-out trusted examples, which then are the
# test data, or given ones that may be wrong.
TRUE, TRUSTED, AS_GIVEN = "true", "trusted", "as given"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings(Settings):
    """Everything that `prepared_data.prepare` needs to know beside the seed."""

    dataset: str = _data(
        "digits",
        "What to train on: digits (embedded), the name of a data set of TensorFlow Datasets, a "
        "folder of images, or a .csv or .npz file. Data sets of TensorFlow Datasets are those of "
        "image classification (mnist, fashion_mnist, cifar10, cifar100, ...); a folder has one "
        "sub-folder per class; files hold numeric features.",
        is_common=True,
    )
    # Two runs are compared by the data that they read, not by how they came to it.
    fallback_dataset: str = _data(
        "",
        "Trained on instead if --dataset is neither on this machine nor available from the "
        "network. Empty: that is an error.",
        affects_result=False,
    )
    data_dir: str = _data(
        "",
        "Where data prepared by TensorFlow Datasets lies. Empty: TFDS_DATA_DIR, or the directory "
        "that TensorFlow Datasets uses by itself.",
        affects_result=False,
    )
    label_column: str = _data(
        "",
        "The column, array or feature that holds the labels, of a CSV file, a .npz file or a data "
        "set of TensorFlow Datasets. Empty: the one that there is (label, in a CSV file).",
    )
    true_label_column: str = _data(
        "",
        "The one that holds the true labels, if somebody knows them: the clean examples and the "
        "test data have these, and the audit is scored against them. It is never an input.",
    )
    ignore_columns: tuple[str, ...] = _data(
        (), "Columns of a CSV file that are neither inputs nor labels."
    )
    bad_files: str = _data(
        "stop",
        "What is done with the files of a folder that cannot be read as images: all of them are "
        "listed, and nothing is trained (stop), or they are listed and left out (skip).",
        choices=("stop", "skip"),
    )
    image_size: int | None = _data(
        None,
        "Height and width in pixels that all images are scaled to. Default: as they are, which has "
        "to be one size.",
        at_least=1,
        at_most=4096,
    )
    classes: tuple[str, ...] = _data(
        (),
        "The only classes to take, by number or by name, such as 4,9; they are numbered anew from "
        "0 in this order. Empty: all.",
    )

    imbalance_type: str = _imbalance(
        "none",
        "How training and validation examples are left out until classes are imbalanced: one of "
        "two classes dominates (two_class), or class sizes fall geometrically (long_tailed).",
        choices=("none", "two_class", "long_tailed"),
    )
    imbalance_ratio: float = _imbalance(
        1.0,
        "Size of the largest class divided by that of the smallest; a proportion p of two classes "
        "is p / (1 - p).",
        at_least=1,
    )
    dominating_class: int = _imbalance(
        0, "The larger class of two, numbered as --classes orders them.", at_least=0, at_most=1
    )
    num_examples: int | None = _imbalance(
        None, "Training examples that are left in all. Default: as many as can be.", at_least=1
    )

    noise_type: str = _labels(
        "none",
        "How labels of the training and validation data are made wrong, or none for labels as they "
        "are. They are changed to any other class (uniform), to one class (background), to the "
        "next class (pair), or to the class that theirs is taken for (asymmetric, by --noise_map); "
        "none is for data whose labels are wrong already.",
        choices=("none", "uniform", "background", "pair", "asymmetric"),
        is_common=True,
    )
    noise_ratio: float | None = _labels(
        None,
        "The fraction of labels that --noise_type chooses, which needs it. For asymmetric noise: "
        "of the labels of the classes in its map.",
        at_least=0,
        at_most=1,
        is_common=True,
    )
    noise_map: tuple[str, ...] = _labels(
        (),
        "What classes are taken for by asymmetric noise, such as 9:1,2:0 (9 for 1, 2 for 0). "
        "Empty: the usual map of cifar10 or cifar100.",
    )
    background_class: int = _labels(
        0, "The class that background noise turns labels into.", at_least=0
    )
    flip_may_keep: bool = _labels(
        False, "Lets uniform noise draw the true class too, as the paper's published code does."
    )
    clean_noise_ratio: float = _labels(
        0.0,
        "The fraction of the clean examples whose label is changed to any other class, to see what "
        "errors among the trusted examples do.",
        at_least=0,
        at_most=1,
    )

    labels_are_right: bool = _labels(
        False,
        "Says that the labels of the data are right as they are, so that clean examples can be "
        "taken from them; with --noise_type, which makes wrong ones of them, that is understood.",
    )
    test_labels_are_right: bool = _labels(
        False,
        "Says that of the labels of the test data alone (FOLDER/test, a test split): somebody "
        "checked them. Without it they are taken as given, like those of the training data, and "
        "accuracy is measured on trusted examples instead, or not at all.",
    )

    clean_data: str = _splits(
        "",
        "Trusted examples, whose labels are known to be right: a folder, a file, a list of "
        "training examples, or a split. A folder has CLASS/IMAGE; a .csv or .npz file is like "
        "--dataset; a text file lists training examples that are right (files or ids, one per "
        "line; they leave the training data); a split is one of a data set of TensorFlow Datasets "
        "(cifar10:test). Empty: FOLDER/clean beside FOLDER/train, if there is one; otherwise "
        "examples are held out of the training data, if their labels are right.",
        is_common=True,
    )
    clean_per_class: int | None = _splits(
        None,
        "Clean examples of each class, held out of the training data (of trusted examples: all). "
        f"Default: {DEFAULT_CLEAN_PER_CLASS}, if --num_clean is not given either.",
        at_least=1,
    )
    num_clean: int | None = _splits(
        None, "Clean examples in all; an alternative to --clean_per_class.", at_least=1
    )
    balanced_clean: bool = _splits(
        True, "Balances the --num_clean clean examples over the classes."
    )
    clean_in_train: bool = _splits(
        False,
        "Leaves the clean examples in the training data too, where they may be corrupted.",
    )
    validation_fraction: float = _splits(
        0.1,
        "Fraction of the training data held out for validation; its labels are corrupted like "
        "those that are trained on. 0: no validation.",
        at_least=0,
        below=1,
    )
    # Of several rounds of corrections the last file has all: the report hands earlier ones on.
    corrections: str = _splits(
        "",
        "corrections.csv, as report.html gives it: what somebody says of the labels of training "
        "examples. Its columns are origin, content_hash, given_label, decision (right, other, "
        "unusable or undecided) and label. Confirmed and corrected examples become clean ones and "
        "leave the training data, unusable ones leave it.",
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
        "Fraction of the given trusted examples of each class, rounded down, that is held out of "
        "everything to measure accuracy if the labels of the test data may be wrong. It is the "
        "same part for every seed and in every round of corrections. 0: none.",
        at_least=0,
        below=1,
    )

    def check_together(self) -> None:
        """Checks what no field can know by itself."""
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
