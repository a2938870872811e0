"""The settings of a run: one table that gives the flags, their checks, their help and config.cfg.

TensorFlow is not imported here, so that `--help` and a mistyped flag answer at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import textwrap
import types
import typing
from collections.abc import Sequence
from typing import Any

from absl import flags

from l2rw_tf.errors import UsageError
from l2rw_tf.experiment.methods import METHODS


def _setting(
    default: Any,
    help_text: str,
    *,
    group: str,
    choices: Sequence[str] = (),
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """Declares one field of `RunConfig`: default, help and the values that are possible."""
    limits = {"at least": at_least, "at most": at_most, "above": above, "below": below}
    metadata = {
        "help": help_text,
        "group": group,
        "choices": tuple(choices),
        "limits": {words: limit for words, limit in limits.items() if limit is not None},
    }
    return dataclasses.field(default=default, metadata=metadata)


_data = functools.partial(_setting, group="Data")
_labels = functools.partial(_setting, group="Wrong labels")
_splits = functools.partial(_setting, group="Splits")
_network = functools.partial(_setting, group="Network")
_method = functools.partial(_setting, group="Method")
_training = functools.partial(_setting, group="Training")
_execution = functools.partial(_setting, group="Execution")
_output = functools.partial(_setting, group="Output")

DEFAULT_CLEAN_PER_CLASS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides what a run does: each field is a flag of the same name.

    Raises:
        UsageError: If a value is of another type or out of range, or two fields contradict
            each other. The sentence names the field, what came and what is possible.
    """

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
        "l2rw: examples are reweighted by the clean data; plain: ordinary training.",
        choices=tuple(METHODS),
    )
    with_plain: bool = _method(
        False, "Trains plainly too, on the same corrupted data from the same initial parameters."
    )
    meta_variables: str = _method(
        "all",
        "The variables that the weights are derived through: all, or those of the last layer alone "
        "(head), which is cheaper.",
        choices=("all", "head"),
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

    def __post_init__(self) -> None:
        """Checks every field by itself, then the fields together."""
        for field in dataclasses.fields(self):
            value = _checked(field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        self._check_together()

    def _check_together(self) -> None:
        if not self.dataset:
            raise UsageError("dataset is empty: name a data set, a folder of images or a file.")
        if self.clean_per_class is not None and self.num_clean is not None:
            raise UsageError(
                f"clean_per_class={self.clean_per_class} and num_clean={self.num_clean} were both "
                "given: give one of them."
            )
        if self.noise_type == "none" and self.noise_ratio > 0:
            raise UsageError(
                f"noise_ratio={self.noise_ratio:g} needs a noise_type: uniform, background or "
                "pair, got none."
            )
        if list(self.lr_decay_epochs) != sorted(set(self.lr_decay_epochs)):
            raise UsageError(
                f"lr_decay_epochs must increase, got {_as_text(self.lr_decay_epochs)}."
            )
        if any(separator in self.name for separator in "/\\") or self.name in (".", ".."):
            raise UsageError(
                f"name must be a plain directory name, got {self.name!r}; use run_dir for a path."
            )

    @property
    def clean_counts(self) -> dict[str, int | None]:
        """The size of the clean data as `split` takes it: exactly one of the two is a number."""
        if self.clean_per_class is None and self.num_clean is None:
            return {"clean_per_class": DEFAULT_CLEAN_PER_CLASS, "num_clean": None}
        return {"clean_per_class": self.clean_per_class, "num_clean": self.num_clean}

    def flag_lines(self) -> list[str]:
        """The flags that give this config again, one `--name=value` each, without `run_dir`."""
        return [
            f"--{field.name}={_as_text(getattr(self, field.name))}"
            for field in dataclasses.fields(self)
            if field.name != "run_dir" and getattr(self, field.name) is not None
        ]


def from_arguments(arguments: Sequence[str]) -> RunConfig:
    """Parses command line arguments, flagfiles included.

    Args:
        arguments: What follows the program's name: `--flag=value`, `--flag value`, `--[no]flag`,
            `--flagfile=FILE`. A later flag wins over an earlier one.

    Raises:
        UsageError: If a flag is unknown or its value unusable, a flagfile cannot be read, or an
            argument is no flag.
    """
    values = define_flags()
    try:
        _, *stray = values(["l2rw", *arguments])
    except flags.UnrecognizedFlagError as error:
        raise UsageError(
            f"--{error.flagname} is not a flag{_suggestion(error.flagname, list(values))}: "
            "--help shows all flags."
        ) from error
    except flags.CantOpenFlagFileError as error:
        reason = error.__context__
        raise UsageError(
            f"--flagfile={getattr(reason, 'filename', '')} cannot be read: "
            f"{getattr(reason, 'strerror', reason)}."
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError("The file given by --flagfile is not a text file in UTF-8.") from error
    except flags.Error as error:
        message = " ".join(str(error).split()).removeprefix("flag ")
        raise UsageError(message.rstrip(".") + ".") from error
    if stray:
        raise UsageError(
            f"{stray[0]!r} is not a flag: flags are given as --name=value, --help shows all flags."
        )
    return from_flags(values)


def from_flags(values: flags.FlagValues) -> RunConfig:
    """Makes the config of parsed flags."""
    return RunConfig(
        **{field.name: values[field.name].value for field in dataclasses.fields(RunConfig)}
    )


def define_flags(values: flags.FlagValues | None = None) -> flags.FlagValues:
    """Defines a flag for every field of `RunConfig`.

    Args:
        values: Where to define them; by default a collection of their own, since libraries that
            are imported later put flags of theirs into absl's global one.

    Returns:
        The collection, not parsed yet.
    """
    values = flags.FlagValues() if values is None else values
    for field in dataclasses.fields(RunConfig):
        kind, optional = _kind(field)
        help_text = field.metadata["help"]
        if kind is bool:
            flag = flags.BooleanFlag(field.name, field.default, help_text)
            flag.parser = _BooleanParser()
        else:
            parser = _PARSERS[kind]()
            if optional:
                parser = _OptionalParser(parser)
            flag = flags.Flag(parser, None, field.name, field.default, help_text)
        flags.DEFINE_flag(flag, values)
    return values


def help_text(usage: str) -> str:
    """Every flag with its default and meaning, grouped as in `RunConfig`.

    Args:
        usage: The lines that say what the program does and how it is called.
    """
    wrap = functools.partial(textwrap.fill, width=100, initial_indent=" " * 6)
    lines = [usage.rstrip()]
    group = None
    for field in dataclasses.fields(RunConfig):
        if field.metadata["group"] != group:
            group = field.metadata["group"]
            lines.append(f"\n{group}:")
        text = field.metadata["help"]
        if field.metadata["choices"]:
            text += f" One of {', '.join(field.metadata['choices'])}."
        if _kind(field)[0] is bool:
            head = f"--[no]{field.name} (default: {_as_text(field.default)})"
        else:
            head = f"--{field.name}={'' if field.default is None else _as_text(field.default)}"
        lines += [f"  {head}", wrap(text, subsequent_indent=" " * 6)]
    lines += [
        "\nAlso:",
        "  --flagfile=FILE",
        wrap("Reads flags from a file, one a line; # starts a comment. Later flags win."),
        "  --help",
    ]
    return "\n".join(lines)


class _TextParser(flags.ArgumentParser):
    """A text that config.cfg can hold on one line."""

    def parse(self, argument: Any) -> str:
        return argument


class _NumberParser(flags.ArgumentParser):
    """A number; flags that were not given keep None."""

    number: type = float
    wanted = "a number"

    def parse(self, argument: Any) -> Any:
        if not isinstance(argument, str):
            return argument
        try:
            return self.number(argument)
        except ValueError:
            raise ValueError(f"needs {self.wanted}") from None


class _IntegerParser(_NumberParser):
    number = int
    wanted = "a whole number"


class _NumbersParser(flags.ArgumentParser):
    """Numbers with commas between them."""

    def parse(self, argument: Any) -> tuple[float, ...]:
        if not isinstance(argument, str):
            return tuple(argument)
        try:
            return tuple(float(part) for part in argument.split(",") if part.strip())
        except ValueError:
            raise ValueError("needs numbers with commas between them, such as 89,133") from None


class _OptionalParser(flags.ArgumentParser):
    """Lets an empty value stand for one that was not given, so that a flagfile's can be undone."""

    def __init__(self, parser: flags.ArgumentParser) -> None:
        self._parser = parser

    def parse(self, argument: Any) -> Any:
        return None if argument == "" else self._parser.parse(argument)


class _BooleanParser(flags.BooleanParser):
    def parse(self, argument: Any) -> bool:
        try:
            return super().parse(argument)
        except (TypeError, ValueError):
            raise ValueError("needs true or false") from None


_LARGEST_INTEGER = 2**31 - 1
_PARSERS = {str: _TextParser, int: _IntegerParser, float: _NumberParser, tuple: _NumbersParser}
_WANTED = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    tuple: "a sequence of numbers",
}


@functools.cache
def _types() -> dict[str, Any]:
    return typing.get_type_hints(RunConfig)


def _kind(field: dataclasses.Field) -> tuple[type, bool]:
    """The field's type, tuples without their items' type, and whether None is possible."""
    hint = _types()[field.name]
    if isinstance(hint, types.UnionType):
        kind, _ = typing.get_args(hint)
        return kind, True
    return typing.get_origin(hint) or hint, False


def _checked(field: dataclasses.Field, value: Any) -> Any:
    """The value in the field's own type.

    Raises:
        UsageError: If the value is none that the field can have.
    """
    kind, optional = _kind(field)
    if value is None and optional:
        return None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is tuple and isinstance(value, Sequence) and not isinstance(value, str):
        value = tuple(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UsageError(f"{field.name} must be {_WANTED[kind]}, got {value!r}.")
    if kind is str:
        _check_text(field, value)
    elif kind is tuple:
        value = tuple(_checked_number(field, item) for item in value)
    elif kind is not bool:
        _checked_number(field, value)
    return value


def _check_text(field: dataclasses.Field, value: str) -> None:
    choices = field.metadata["choices"]
    if choices and value not in choices:
        raise UsageError(
            f"{field.name} must be one of {', '.join(choices)}, "
            f"got {value!r}{_suggestion(value, choices, '')}."
        )
    # A flagfile is read line by line, and its lines are stripped.
    if value != value.strip() or not value.isprintable():
        raise UsageError(
            f"{field.name} must be printable text with no spaces around it, got {value!r}."
        )


def _checked_number(field: dataclasses.Field, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"{field.name} must be made of numbers, got {value!r}.")
    limits = field.metadata["limits"]
    holds = {
        "at least": lambda limit: value >= limit,
        "at most": lambda limit: value <= limit,
        "above": lambda limit: value > limit,
        "below": lambda limit: value < limit,
    }
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        raise UsageError(f"{field.name} must be at most {_LARGEST_INTEGER}, got {value}.")
    if math.isfinite(value) and all(holds[words](limit) for words, limit in limits.items()):
        return value
    if {"at least", "at most"} <= set(limits):
        possible = f"lie between {limits['at least']:g} and {limits['at most']:g}"
    elif limits:
        possible = "be " + " and ".join(f"{words} {limit:.10g}" for words, limit in limits.items())
    else:
        possible = "be a finite number"
    raise UsageError(f"{field.name} must {possible}, got {value!r}.")


def _suggestion(given: str, possible: Sequence[str], flag_prefix: str = "--") -> str:
    nearest = difflib.get_close_matches(given, possible, n=1)
    return f" (did you mean {flag_prefix}{nearest[0]}?)" if nearest else ""


def _as_text(value: Any) -> str:
    """The value as a flag takes it; `repr` keeps every digit of a float."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(repr(item) for item in value)
    return value if isinstance(value, str) else repr(value)
