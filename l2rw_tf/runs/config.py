"""The settings of a run: one class that defines the flags, their checks, help and config.cfg.

It combines the settings of each package. TensorFlow is not imported here, so that `--help` and the
message about a mistyped flag appear at once.
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

# Where a run is written and whether it resumes do not belong to a config that repeats it.
_OF_ONE_START = ("run_dir", "resume", "resume_learning_rate", "reviewed_run")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodChoice(Settings):
    """The trainings that a run consists of."""

    method: str = _method(
        "l2rw",
        "Training method. "
        + "; ".join(f"{name}: {entry.summary}" for name, entry in METHODS.items())
        + ".",
        choices=tuple(METHODS),
        is_common=True,
    )
    with_plain: bool = _method(
        False,
        "Also runs plain training, on the same corrupted data from the same initial parameters, "
        "and says which is better. The plain network, plain.keras, ranks the labels if it is "
        "better and has not memorized them.",
        is_common=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """Length and phases of a training, its optimizer and its batches."""

    epochs: int = _training(30, "Passes over the training data.", at_least=1, is_common=True)
    max_steps: int | None = _training(
        None,
        "Largest number of steps: training ends after the last epoch that is complete within it "
        "(or within the first epoch).",
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
        0.1, "Factor by which each decay multiplies the learning rate.", above=0, at_most=1
    )
    clipnorm: float | None = _training(
        None, "Clips the gradient to this global norm. Default: no clipping.", above=0
    )
    augment: str = _training(
        "auto",
        "Augmentation of training images: none, crop (random shifts), crop_flip (random shifts and "
        "horizontal flips); auto: crop_flip for colour images, none for others.",
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
        "After training, restores the network of the epoch with the best accuracy on the labels "
        "that --early_stopping_on names.",
    )
    early_stopping_on: str = _training(
        "held_out",
        "Labels that choose the best epoch. held_out: those held out of the training data "
        "(--validation_fraction), which are as noisy as the training labels; clean: those of the "
        "clean examples, for methods that do not train on them.",
        choices=("held_out", "clean"),
    )
    finetune_steps: int = _training(
        0, "Steps of plain training on the clean data alone, after all epochs.", at_least=0
    )
    finetune_learning_rate: float | None = _training(
        None, "Learning rate of these steps. Default: the last one of the training.", above=0
    )

    def check_together(self) -> None:
        """Checks combinations of settings."""
        if list(self.lr_decay_epochs) != sorted(set(self.lr_decay_epochs)):
            raise UsageError(f"lr_decay_epochs must increase, got {as_text(self.lr_decay_epochs)}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExecutionSettings(Settings):
    """Devices, precision and compilation: how steps are computed, not what the method does."""

    # Distribution changes the last digits at most.
    distribution: str = _execution(
        "none",
        "Devices that share every step: one (none), all GPUs of this machine (mirrored), or those "
        "of all machines that TF_CONFIG names (multi_worker; start the program on each). The "
        "result is the same as on one device.",
        choices=DISTRIBUTIONS,
        affects_result=False,
    )
    sync_batch_norm: bool = _execution(
        True,
        "With --distribution: batch normalization uses the statistics of the whole batch, not of "
        "each device's part.",
    )
    jit_compile: str = _execution(
        "auto",
        "Compiles steps with XLA; auto: Keras decides (on for a GPU, off for a CPU).",
        choices=("auto", "true", "false"),
    )
    dtype_policy: str = _execution(
        "float32",
        "Keras's dtype policy of the network.",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )
    steps_per_execution: int = _execution(
        1,
        "Largest number of steps per call of the compiled function; the largest divisor of the "
        "steps per epoch up to this number is used.",
        at_least=1,
    )
    deterministic: str = _execution(
        "auto",
        "Uses TensorFlow's deterministic operations, so that a run can be repeated bit for bit; "
        "auto: on a CPU only, where that costs nothing that could be measured.",
        choices=("auto", "true", "false"),
    )

    def check_together(self) -> None:
        """Checks combinations of settings."""
        if self.distribution != NONE and self.jit_compile == "true":
            raise UsageError(
                f"jit_compile=true cannot be used with distribution={self.distribution}: leave it "
                "at auto, which turns XLA off there."
            )


# Fields are inherited in reverse order: those of the last base class come first.
@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(
    ExecutionSettings,
    TrainingSettings,
    MethodSettings,
    MethodChoice,
    NetworkSettings,
    DataSettings,
):
    """All settings of a run; each field is a flag of the same name."""

    resume: bool = _interruptions(
        False,
        "Resumes the run in --run_dir from its newest checkpoint, with the same result as without "
        "the interruption; starts it if the directory is new. Flags not given are the run's own.",
        is_common=True,
    )
    resume_learning_rate: float | None = _interruptions(
        None,
        "With --resume: the learning rate from here on (decays multiply this one, and "
        "--finetune_learning_rate is limited to it).",
        above=0,
    )
    on_nonfinite: str = _interruptions(
        "stop",
        "What happens if the loss, u or a parameter becomes NaN or infinite in a step: stop ends "
        "the run; skip undoes the step and counts it in results.json (costs time and memory).",
        choices=("stop", "skip"),
    )
    checkpoint_minutes: float = _interruptions(
        10.0,
        "Minutes between checkpoints within an epoch, besides the one at the end of every epoch. "
        "0: none within epochs.",
        at_least=0,
    )
    keep_checkpoints: int = _interruptions(2, "Number of checkpoints to keep.", at_least=1)

    run_dir: str = _output(
        "",
        "Directory for the results, new or empty. Default: runs/NAME-seedS, numbered.",
        is_common=True,
    )
    name: str = _output("", "NAME in runs/NAME-seedS. Default: from data set, noise and method.")
    review_examples: int = _output(
        500,
        "Training examples whose labels can be reviewed in report.html: those whose review helps "
        "most, fewer if the page would exceed 25 MB.",
        at_least=0,
    )
    reviewed_run: str = _output(
        "",
        "Directory of the run whose report gave --corrections; report.html then shows what changed "
        "since that run.",
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
        """Checks combinations of settings across groups."""
        if self.resume_learning_rate is not None and not self.resume:
            raise UsageError(
                f"resume_learning_rate={self.resume_learning_rate:g} needs resume; for a new run, "
                "set learning_rate."
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
        if self.reweight_every > 1 and self.steps_per_execution > 1:
            raise UsageError(
                f"reweight_every={self.reweight_every} and steps_per_execution="
                f"{self.steps_per_execution} cannot be used together: leave one of them at 1."
            )
        if self.distribution != NONE and self.clipnorm and self.dtype_policy == "mixed_float16":
            raise UsageError(
                f"clipnorm and dtype_policy=mixed_float16 cannot be used together with "
                f"distribution={self.distribution}: use mixed_bfloat16."
            )
        if self.reviewed_run and not self.corrections:
            raise UsageError(
                f"reviewed_run={self.reviewed_run} needs corrections, the file from its report."
            )
        if self.resume and not self.run_dir:
            raise UsageError("resume needs run_dir, the directory of the run to resume.")

    @property
    def weight_decay_in_loss(self) -> float:
        """The L2 weight decay in the loss; 0 for AdamW, which decays the parameters itself."""
        return 0.0 if self.optimizer == "adamw" else self.weight_decay

    def flag_lines(self) -> list[str]:
        """The flags that repeat this config in another directory, each as `--name=value`."""
        left_out = {f"--{name}" for name in _OF_ONE_START}
        return [line for line in super().flag_lines() if line.split("=")[0] not in left_out]


def from_arguments(
    arguments: Sequence[str], flags_of_run: Callable[[str], Sequence[str]] = lambda run_dir: ()
) -> RunConfig:
    """Parses command line arguments, as `settings.from_arguments` does.

    Args:
        arguments: The arguments after the program's name.
        flags_of_run: Returns the flags of the run in a directory; with `--resume`, they come
            before `arguments`.

    Raises:
        UsageError: If an argument is not a flag of a run, a value cannot be used, or `--resume` is
            given without other flags and the directory holds no run.
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
                f"run_dir={run_dir} holds no run to resume; to start one there, give its flags "
                "(--dataset, ...)."
            )
        arguments = [*of_run, *arguments]
    (config,) = settings.from_arguments(arguments, RunConfig)
    return config
