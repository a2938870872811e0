"""The settings of a run: one table that gives the flags, their checks, their help and config.cfg.

TensorFlow is not imported here, so that `--help` and a mistyped flag answer at once.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

from l2rw_tf.command_line import settings
from l2rw_tf.command_line.settings import Settings, as_text, setting
from l2rw_tf.errors import UsageError
from l2rw_tf.methods import METHODS
from l2rw_tf.runs import distribution

_data = functools.partial(setting, group="Data")
_imbalance = functools.partial(setting, group="Uneven classes")
_labels = functools.partial(setting, group="Wrong labels")
_splits = functools.partial(setting, group="Splits")
_network = functools.partial(setting, group="Network")
_method = functools.partial(setting, group="Method")
_training = functools.partial(setting, group="Training")
_execution = functools.partial(setting, group="Execution")
_interruptions = functools.partial(setting, group="Interruptions")
_output = functools.partial(setting, group="Output")

DEFAULT_CLEAN_PER_CLASS = 10

# Where a run goes and whether it is a new one are no part of what it does.
_OF_ONE_START = ("run_dir", "resume", "resume_learning_rate")

# Nor do these change what it computes.
_HARMLESS = (
    *_OF_ONE_START,
    *("on_nonfinite", "data_dir", "name", "tensorboard", "progress"),
    *("checkpoint_minutes", "keep_checkpoints"),
    # But for the last digits.
    "distribution",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(Settings):
    """Everything that decides what a run does: each field is a flag of the same name."""

    dataset: str = _data(
        "digits",
        "What to train on: digits (embedded), the name of an image classification data set of "
        "TensorFlow Datasets (mnist, fashion_mnist, cifar10, cifar100, ...), a folder of images "
        "with one sub-folder a class, or a .csv or .npz file of numeric features.",
    )
    fallback_dataset: str = _data(
        "",
        "Trained on instead where --dataset is neither on this machine nor to be had. Empty: that "
        "is an error.",
    )
    data_dir: str = _data(
        "",
        "Where data prepared by TensorFlow Datasets lies. Empty: TFDS_DATA_DIR, or the directory "
        "that TensorFlow Datasets uses by itself.",
    )
    label_column: str = _data("label", "The column or array that holds the labels of a file.")
    image_size: int | None = _data(
        None,
        "Height and width in pixels that all images are scaled to. Default: as they are, which has "
        "to be one size.",
        at_least=1,
    )
    classes: tuple[str, ...] = _data(
        (),
        "The only classes to take, by number or by name, such as 4,9; they are numbered anew from "
        "0 in this order. Empty: all.",
    )

    imbalance_type: str = _imbalance(
        "none",
        "How training and validation examples are left out until classes are uneven: one of two "
        "classes dominates (two_class), or class sizes fall geometrically (long_tailed).",
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
        "How labels of the training and validation data are made wrong: to any other class "
        "(uniform), to one class (background), to the next class (pair), or not at all (none: data "
        "whose labels are wrong already).",
        choices=("none", "uniform", "background", "pair"),
    )
    noise_ratio: float = _labels(
        0.0, "The share of labels that --noise_type chooses.", at_least=0, at_most=1
    )
    background_class: int = _labels(
        0, "The class that background noise turns labels into.", at_least=0
    )
    flip_may_keep: bool = _labels(
        False, "Lets uniform noise draw the true class too, as the paper's published code does."
    )

    clean_per_class: int | None = _splits(
        None,
        "Clean examples of each class, held out of the training data. "
        f"Default: {DEFAULT_CLEAN_PER_CLASS}, where --num_clean is not given either.",
        at_least=1,
    )
    num_clean: int | None = _splits(
        None, "Clean examples in all; an alternative to --clean_per_class.", at_least=1
    )
    balanced_clean: bool = _splits(
        True, "Balances the --num_clean clean examples over the classes."
    )
    clean_in_train: bool = _splits(
        False, "Leaves the clean examples in the training data too, where they may be corrupted."
    )
    validation_fraction: float = _splits(
        0.1,
        "Share of the training data held out for validation; its labels are corrupted like those "
        "that are trained on. 0: no validation.",
        at_least=0,
        below=1,
    )
    test_fraction: float = _splits(
        0.25, "Share of the data held out for testing where it has no test data.", above=0, below=1
    )

    network: str = _network(
        "auto",
        "lenet, resnet20 (32, 44, 56, ...), wrn28_10 (and other depths and widths) or mlp; auto: "
        "resnet20 for images, mlp for tables.",
    )
    dropout: float | None = _network(
        None, "Share of units dropped. Default: the network's own.", at_least=0, below=1
    )
    weight_decay: float = _network(
        2e-4,
        "Weight decay on half the squared norm of the kernels; with --optimizer=adamw AdamW's own.",
        at_least=0,
    )

    method: str = _method(
        "l2rw",
        "; ".join(f"{name}: {method.summary}" for name, method in METHODS.items()) + ".",
        choices=tuple(METHODS),
    )
    with_plain: bool = _method(
        False, "Trains plainly too, on the same corrupted data from the same initial parameters."
    )
    meta_variables: str | None = _method(
        None,
        "The variables that the weights are derived through: all, or those of the last layer alone "
        "(head), which is cheaper. Default: all, and head with --weighting=history.",
        choices=("all", "head"),
    )
    weighting: str = _method(
        "paper",
        "From the meta-gradient to example weights: by the batch alone (paper), or by "
        "what all visits to an example have shown (history).",
        choices=("paper", "history"),
    )
    meta_gradient: str = _method(
        "nested",
        "nested: exact, by nested gradient tapes; finite_difference: for networks with operations "
        "that have no second derivative.",
        choices=("nested", "finite_difference"),
    )
    clean_batch_size: int | None = _method(
        None,
        "Clean examples a step. Default: --batch_size, or all of them where there are fewer.",
        at_least=1,
    )

    early_stopping: bool = _method(
        False,
        "Goes back, once trained, to the epoch with the best accuracy on the held-out labels, "
        "which are corrupted like those that are trained on.",
    )
    finetune_steps: int = _method(
        0, "Steps of plain training on the clean data alone that follow, from there.", at_least=0
    )
    finetune_learning_rate: float | None = _method(
        None, "Learning rate of these. Default: the one that training ended with.", above=0
    )

    epochs: int = _training(30, "Passes over the training data.", at_least=1)
    max_steps: int | None = _training(
        None,
        "Ends training earlier, after the last whole epoch within so many steps (or within the "
        "first epoch).",
        at_least=1,
    )
    batch_size: int = _training(100, "Training examples a step.", at_least=1)
    optimizer: str = _training("sgd", "Keras's optimizer.", choices=("sgd", "adam", "adamw"))
    learning_rate: float = _training(0.02, "Learning rate at the start.", above=0)
    momentum: float = _training(0.9, "Momentum of --optimizer=sgd.", at_least=0, below=1)
    lr_decay_epochs: tuple[float, ...] = _training(
        (),
        "Epochs after which the learning rate is multiplied by --lr_decay_factor, such as 89,133.",
        above=0,
    )
    lr_decay_factor: float = _training(
        0.1, "What the learning rate is multiplied by at each decay.", above=0, at_most=1
    )
    clipnorm: float | None = _training(
        None, "Largest global norm of an update's gradient. Default: no clipping.", above=0
    )
    augment: str = _training(
        "auto",
        "Random changes of training images: none, shifts (crop), shifts and mirroring (crop_flip); "
        "auto: crop_flip for colour images, none for others.",
        choices=("auto", "none", "crop", "crop_flip"),
    )
    seed: int = _training(
        0,
        "Decides splits, corruption, initial parameters, order and augmentation.",
        at_least=0,
    )

    distribution: str = _execution(
        "none",
        "Devices that every step is spread over: one (none), all GPUs of this machine (mirrored), "
        "or those of all machines that TF_CONFIG names, on each of which the program is started "
        "(multi_worker). The result is that of one device.",
        choices=distribution.KINDS,
    )
    sync_batch_norm: bool = _execution(
        True,
        "With --distribution: batch normalization over the whole batch and not over the part that "
        "a device has.",
    )
    jit_compile: str = _execution(
        "auto",
        "XLA: auto leaves it to Keras (on for a GPU, off for a CPU).",
        choices=("auto", "true", "false"),
    )
    dtype_policy: str = _execution(
        "float32",
        "Precision of the network's arithmetic.",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )
    steps_per_execution: int = _execution(
        1,
        "Steps that one call of the compiled function takes at most; it takes a divisor of the "
        "epoch's steps.",
        at_least=1,
    )
    deterministic: str = _execution(
        "auto",
        "TensorFlow's deterministic operations, with which a run can be repeated bit for bit; "
        "auto: on a CPU (false is up to 1.8 times as fast for small networks).",
        choices=("auto", "true", "false"),
    )

    resume: bool = _interruptions(
        False,
        "Goes on with the run in --run_dir from its newest checkpoint, so that it ends as it would "
        "have; begins it where the directory is new. Flags that are not given are the run's.",
    )
    resume_learning_rate: float | None = _interruptions(
        None,
        "With --resume: the learning rate from here on instead of the run's (its decays count from "
        "this one, and --finetune_learning_rate is no larger).",
        above=0,
    )
    on_nonfinite: str = _interruptions(
        "stop",
        "What a step does that meets NaN or infinity in loss, u or parameters: it ends the run, or "
        "is dropped and counted in results.json (skip; this costs time and memory).",
        choices=("stop", "skip"),
    )
    checkpoint_minutes: float = _interruptions(
        10.0,
        "Minutes between checkpoints within an epoch; every epoch ends with one anyway. 0: those "
        "alone.",
        at_least=0,
    )
    keep_checkpoints: int = _interruptions(2, "Checkpoints that are kept.", at_least=1)

    run_dir: str = _output(
        "", "Where results go: a new or empty directory. Empty: runs/NAME-seedS, numbered."
    )
    name: str = _output("", "NAME in runs/NAME-seedS. Empty: made of data and method.")
    tensorboard: bool = _output(True, "Writes TensorBoard events.")
    progress: str = _output(
        "auto",
        "bar: the steps of an epoch as they go; lines: some lines a training; none; auto: bar on a "
        "terminal, otherwise lines.",
        choices=("auto", "bar", "lines", "none"),
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
        if self.noise_type == "none" and self.noise_ratio > 0:
            raise UsageError(
                f"noise_ratio={self.noise_ratio:g} needs a noise_type: uniform, background or "
                "pair, got none."
            )
        if self.early_stopping and self.validation_fraction == 0:
            raise UsageError(
                "early_stopping needs held-out examples: validation_fraction must be above 0."
            )
        if self.distribution != distribution.NONE:
            self._check_distribution()
        if self.resume and not self.run_dir:
            raise UsageError("resume needs run_dir, the directory of the run to go on with.")
        if self.resume_learning_rate is not None and not self.resume:
            raise UsageError(
                f"resume_learning_rate={self.resume_learning_rate:g} needs resume; a new run takes "
                "its learning_rate."
            )
        if list(self.lr_decay_epochs) != sorted(set(self.lr_decay_epochs)):
            raise UsageError(f"lr_decay_epochs must increase, got {as_text(self.lr_decay_epochs)}.")
        if any(separator in self.name for separator in "/\\") or self.name in (".", ".."):
            raise UsageError(
                f"name must be a plain directory name, got {self.name!r}; use run_dir for a path."
            )

    def _check_distribution(self) -> None:
        if self.jit_compile == "true":
            raise UsageError(
                f"jit_compile=true cannot be used with distribution={self.distribution}: leave it "
                "at auto, which turns XLA off there."
            )
        if self.clipnorm and self.dtype_policy == "mixed_float16":
            raise UsageError(
                f"clipnorm and dtype_policy=mixed_float16 cannot be used together with "
                f"distribution={self.distribution}: use mixed_bfloat16."
            )

    @property
    def clean_counts(self) -> dict[str, int | None]:
        """The size of the clean data as `split` takes it: exactly one of the two is a number."""
        if self.clean_per_class is None and self.num_clean is None:
            return {"clean_per_class": DEFAULT_CLEAN_PER_CLASS, "num_clean": None}
        return {"clean_per_class": self.clean_per_class, "num_clean": self.num_clean}

    def flag_lines(self) -> list[str]:
        """The flags that give this config again in another directory, one `--name=value` each."""
        left_out = {f"--{name}" for name in _OF_ONE_START}
        return [line for line in super().flag_lines() if line.split("=")[0] not in left_out]


def from_arguments(
    arguments: Sequence[str], flags_of_run: Callable[[str], Sequence[str]] = lambda run_dir: ()
) -> RunConfig:
    """Parses command line arguments, flagfiles included.

    Args:
        arguments: What follows the program's name: `--flag=value`, `--flag value`, `--[no]flag`,
            `--flagfile=FILE`. A later flag wins over an earlier one.
        flags_of_run: Gives the flags of the run in a directory, which `--resume` adds to.

    Raises:
        UsageError: If a flag is unknown or its value unusable, a flagfile cannot be read, or an
            argument is no flag.
    """
    given = settings.parse(arguments, RunConfig)
    if given["resume"].value:
        arguments = [*flags_of_run(given["run_dir"].value), *arguments]
    (config,) = settings.from_arguments(arguments, RunConfig)
    return config


def differences(config: RunConfig, other: RunConfig) -> list[str]:
    """Says in what two configs differ that decides what a run computes.

    Args:
        config: The first.
        other: The second.

    Returns:
        `NAME (VALUE, VALUE)` for each field that differs, the second config's value first.
    """
    found = []
    for field in dataclasses.fields(RunConfig):
        values = [getattr(one, field.name) for one in (other, config)]
        if field.name not in _HARMLESS and values[0] != values[1]:
            there, here = ("not given" if v is None else as_text(v) or "empty" for v in values)
            found.append(f"{field.name} ({there} there, {here} here)")
    return found


def help_text(usage: str) -> str:
    """Every flag with its default and meaning, grouped as in `RunConfig`.

    Args:
        usage: The lines that say what the program does and how it is called.
    """
    return settings.help_text(usage, RunConfig)
