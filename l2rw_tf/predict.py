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
a row for each: where it comes from (the file, or the file and its line), class, and probability.

usage: python -m l2rw_tf.predict --run_dir=DIR INPUT [INPUT ...] --output=FILE
   e.g. python -m l2rw_tf.predict --run_dir=runs/photos-none-l2rw-seed0 new_photos/ --output=new.csv

An INPUT is a folder of images at any depth, an image, or a CSV file with the columns that the run
was trained on; other columns, such as that of the labels, are passed over. Images are scaled to the
size of training. In Python, the run's model.keras does the same without this package: Keras loads
it, it takes uint8 images (n, height, width, channels) or float32 rows (n, features), and gives
probabilities (n, classes) in the order of classes.json; its layers[-2] gives logits from
standardized inputs.
"""


@dataclasses.dataclass(frozen=True)
class PredictConfig(settings.Settings):
    """Which network classifies, and where the classes go."""

    run_dir: str = _setting("", "The directory that a run filled.")
    output: str = _setting("", "A new CSV file.")
    bad_files: str = _setting(
        "stop",
        "What is done with files that cannot be read as images: all of them are listed, and "
        "nothing is written (stop), or they are left out (skip).",
        choices=("stop", "skip"),
    )

    def check_together(self) -> None:
        """Checks what no field can know by itself."""
        if not self.run_dir:
            raise UsageError("run_dir is empty: name a directory that a run filled.")
        if not self.output:
            raise UsageError("output is empty: name a new CSV file.")


def main(arguments: Sequence[str]) -> int:
    """Runs the program.

    Args:
        arguments: The command line without the program's name.

    Returns:
        0 once the file is written and after --help, 1 if it cannot be written, 2 for flags, inputs
        or a run directory that cannot be used, 3 after SIGINT or SIGTERM.
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
    # It imports TensorFlow.
    from l2rw_tf.runs import prediction

    prediction.predict(config.run_dir, inputs, config.output, config.bad_files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
