"""Predictions: `python -m l2rw_tf.predict --run_dir=DIR INPUT ... --output=FILE`."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Sequence

from l2rw_tf.command_line import environment, program, settings
from l2rw_tf.errors import UsageError

_setting = functools.partial(settings.setting, group="Predictions", is_common=True)

USAGE = """\
Classifies images or rows of a table with the network of a finished run, and writes a CSV file with
one row per input: its origin (file, or file and line), its class and its probability.

usage: python -m l2rw_tf.predict --run_dir=DIR INPUT [INPUT ...] --output=FILE
   e.g. python -m l2rw_tf.predict --run_dir=runs/photos-none-l2rw-seed0 new_photos/ --output=new.csv

An INPUT is a folder of images (searched at any depth), an image, or a CSV file with the columns
that the run was trained on; other columns, such as the labels, are ignored. Images are scaled to
the size used in training. In Python, the run's model.keras does the same without this package:
Keras loads it, it takes uint8 images (n, height, width, channels) or float32 rows (n, features),
and it returns probabilities (n, classes) in the order of classes.json; its layers[-2] computes
logits from standardized inputs.
"""


@dataclasses.dataclass(frozen=True)
class PredictConfig(settings.Settings):
    """The run whose network is used, and the file to write."""

    run_dir: str = _setting("", "The directory of a finished run.")
    output: str = _setting("", "The CSV file to write; it must not exist.")
    bad_files: str = _setting(
        "stop",
        "What to do with files that cannot be read as images: list all of them and write nothing "
        "(stop), or leave them out (skip).",
        choices=("stop", "skip"),
    )

    plain_network: bool = _setting(
        False,
        "Uses the network of plain training, plain.keras, of a run with --with_plain.",
    )

    def check_together(self) -> None:
        """Checks that the run and the output are named."""
        if not self.run_dir:
            raise UsageError("run_dir is empty: name the directory of a run.")
        if not self.output:
            raise UsageError("output is empty: name a new CSV file.")


def main(arguments: Sequence[str]) -> int:
    """Runs the program.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit code: 0 once the file is written or after --help, 1 if it cannot be written, 2 for
        flags, inputs or a run directory that cannot be used, 3 after SIGINT or SIGTERM.
    """
    return program.run(
        arguments,
        _predict,
        usage=USAGE,
        flags=(PredictConfig,),
        when_stopped="nothing was written.",
    )


def _predict(arguments: Sequence[str]) -> None:
    config, inputs = settings.with_inputs(arguments, PredictConfig)
    if not inputs:
        raise UsageError("there is no input: name folders of images, images or CSV files.")
    environment.prepare_tensorflow()
    # This imports TensorFlow.
    from l2rw_tf.runs import prediction

    prediction.predict(
        config.run_dir, inputs, config.output, config.bad_files, config.plain_network
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
