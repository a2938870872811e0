"""The settings of a run: one table that gives the flags, their checks, their help and config.cfg.

It is composed of the settings that each room takes. TensorFlow is not imported here, so that
`--help` and a mistyped flag answer at once.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

from l2rw_tf.command_line import settings
from l2rw_tf.command_line.settings import Settings, as_text, setting
from l2rw_tf.data.settings import DataSettings
from l2rw_tf.errors import UsageError
from l2rw_tf.methods import METHODS
from l2rw_tf.methods.settings import MethodSettings
from l2rw_tf.networks.settings import NetworkSettings

_method = functools.partial(setting, group="Method")
_training = functools.partial(setting, group="Training")
_execution = functools.partial(setting, group="Execution")
_interruptions = functools.partial(setting, group="Interruptions", affects_result=False)
_output = functools.partial(setting, group="Output", affects_result=False)

DISTRIBUTIONS = NONE, MIRRORED, MULTI_WORKER = ("none", "mirrored", "multi_worker")

# Where a run goes and whether it is a new one are no part of what it does.
_OF_ONE_START = ("run_dir", "resume", "resume_learning_rate", "reviewed_run")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodChoice(Settings):
    """Which trainings a run consists of."""

    method: str = _method(
        "l2rw",
        "What the network is trained with. "
        + "; ".join(f"{name}: {entry.summary}" for name, entry in METHODS.items())
        + ".",
        choices=tuple(METHODS),
        is_common=True,
    )
    with_plain: bool = _method(
        False,
        "Trains plainly too, on the same corrupted data from the same initial parameters.",
        is_common=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """How long a training is, its phases, its optimizer and its batches."""

    epochs: int = _training(30, "Passes over the training data.", at_least=1, is_common=True)
    max_steps: int | None = _training(
        None,
        "Ends training earlier, after the last whole epoch within so many steps (or within the "
        "first epoch).",
        at_least=1,
    )
    batch_size: int = _training(100, "Training examples per step.", at_least=1, is_common=True)
    optimizer: str = _training("sgd", "Keras's optimizer.", choices=("sgd", "adam", "adamw"))
    learning_rate: float = _training(0.02, "Learning rate at the start.", above=0, is_common=True)
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

    evaluate_every: int = _training(
        1,
        "Epochs between evaluations of the test and the held-out data. The last epoch is always "
        "evaluated, and --early_stopping chooses among those that are.",
        at_least=1,
    )
    early_stopping: bool = _training(
        False,
        "Goes back, once trained, to the epoch with the best accuracy on the labels that "
        "--early_stopping_on names.",
    )
    early_stopping_on: str = _training(
        "held_out",
        "held_out: the labels held out of the training data (--validation_fraction), which are "
        "corrupted like those that are trained on; clean: those of the clean examples, for methods "
        "that do not train on them.",
        choices=("held_out", "clean"),
    )
    finetune_steps: int = _training(
        0, "Steps of plain training on the clean data alone that follow, from there.", at_least=0
    )
    finetune_learning_rate: float | None = _training(
        None, "Learning rate of these. Default: the one that training ended with.", above=0
    )

    def check_together(self) -> None:
        """Checks what no field can know by itself."""
        if list(self.lr_decay_epochs) != sorted(set(self.lr_decay_epochs)):
            raise UsageError(f"lr_decay_epochs must increase, got {as_text(self.lr_decay_epochs)}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExecutionSettings(Settings):
    """What the steps of a training run on, and how; none of it is part of the method."""

    # It changes the last digits at most.
    distribution: str = _execution(
        "none",
        "Devices that every step is spread over: one (none), all GPUs of this machine (mirrored), "
        "or those of all machines that TF_CONFIG names, on each of which the program is started "
        "(multi_worker). The result is that of one device.",
        choices=DISTRIBUTIONS,
        affects_result=False,
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

    def check_together(self) -> None:
        """Checks what no field can know by itself."""
        if self.distribution != NONE and self.jit_compile == "true":
            raise UsageError(
                f"jit_compile=true cannot be used with distribution={self.distribution}: leave it "
                "at auto, which turns XLA off there."
            )


# The fields of the last class come first.
@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(
    ExecutionSettings,
    TrainingSettings,
    MethodSettings,
    MethodChoice,
    NetworkSettings,
    DataSettings,
):
    """Everything that decides what a run does: each field is a flag of the same name."""

    resume: bool = _interruptions(
        False,
        "Resumes the run in --run_dir from its newest checkpoint, so that it ends as it would "
        "have; begins it if the directory is new. Flags that are not given are the run's.",
        is_common=True,
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
        "",
        "Where results go, a new or empty directory; by default runs/NAME-seedS, numbered.",
        is_common=True,
    )
    name: str = _output("", "NAME in runs/NAME-seedS. Empty: made of data and method.")
    review_examples: int = _output(
        500,
        "Training examples whose labels can be reviewed in report.html, which stays below 25 MB: "
        "those whose decision helps most.",
        at_least=0,
    )
    reviewed_run: str = _output(
        "",
        "The directory of the run whose report gave --corrections: report.html then says what has "
        "changed since that run.",
    )
    tensorboard: bool = _output(True, "Writes TensorBoard events.")
    progress: str = _output(
        "auto",
        "bar: the steps of an epoch as they go; lines: some lines per training; none; auto: bar on "
        "a terminal, otherwise lines.",
        choices=("auto", "bar", "lines", "none"),
    )

    seed: int = _training(
        0,
        "Decides splits, corruption, initial parameters, order and augmentation.",
        at_least=0,
        is_common=True,
    )

    def check_together(self) -> None:
        """Checks what no part can know by itself."""
        if self.resume_learning_rate is not None and not self.resume:
            raise UsageError(
                f"resume_learning_rate={self.resume_learning_rate:g} needs resume; a new run takes "
                "its learning_rate."
            )
        if any(separator in self.name for separator in "/\\") or self.name in (".", ".."):
            raise UsageError(
                f"name must be a plain directory name, got {self.name!r}; use run_dir for a path."
            )
        on_clean = self.early_stopping_on == "clean"
        if self.early_stopping and not on_clean and self.validation_fraction == 0:
            raise UsageError(
                "early_stopping needs held-out examples: validation_fraction must be above 0, or "
                "early_stopping_on=clean."
            )
        if self.clean_in_train and self.weighting == "history" and self.method == "l2rw":
            raise UsageError(
                "clean_in_train cannot be used with weighting=history, which compares the training "
                "examples with clean ones that are not trained on."
            )
        if self.distribution != NONE and self.clipnorm and self.dtype_policy == "mixed_float16":
            raise UsageError(
                f"clipnorm and dtype_policy=mixed_float16 cannot be used together with "
                f"distribution={self.distribution}: use mixed_bfloat16."
            )
        if self.reviewed_run and not self.corrections:
            raise UsageError(
                f"reviewed_run={self.reviewed_run} needs corrections, what its report gave."
            )
        if self.resume and not self.run_dir:
            raise UsageError("resume needs run_dir, the directory of the run to resume.")

    @property
    def weight_decay_in_loss(self) -> float:
        """The weight decay of the network's kernels: AdamW decays the parameters itself."""
        return 0.0 if self.optimizer == "adamw" else self.weight_decay

    def flag_lines(self) -> list[str]:
        """The flags that give this config again in another directory, one `--name=value` each."""
        left_out = {f"--{name}" for name in _OF_ONE_START}
        return [line for line in super().flag_lines() if line.split("=")[0] not in left_out]


def from_arguments(
    arguments: Sequence[str], flags_of_run: Callable[[str], Sequence[str]] = lambda run_dir: ()
) -> RunConfig:
    """Parses command line arguments, as `settings.from_arguments` does.

    Args:
        arguments: What follows the program's name.
        flags_of_run: Gives the flags of the run in a directory, which `--resume` adds to.

    Raises:
        UsageError: If an argument is no flag of a run or its value unusable, or `--resume` is all
            that is said of a run that was never begun.
    """
    given = settings.parse(arguments, RunConfig)
    run_dir = given["run_dir"].value
    if given["resume"].value and run_dir:
        of_run = flags_of_run(run_dir)
        if not of_run and not any(
            given[field.name].present
            for field in dataclasses.fields(RunConfig)
            if field.metadata["affects_result"]
        ):
            raise UsageError(
                f"run_dir={run_dir} holds no run to resume; to begin one there, give its flags "
                "(--dataset, ...)."
            )
        arguments = [*of_run, *arguments]
    (config,) = settings.from_arguments(arguments, RunConfig)
    return config
