"""Time from the start of the program to the end of its first step.

`python -m benchmarks.start [--flag=value ...]` runs `l2rw_tf.main`, ends after the first step and
prints the time of day at which this was.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

_TIMES = 3


def start_table() -> Iterator[str]:
    """Yields the table of median times from the start of the process, in seconds."""
    run = ["--dataset=digits", "--progress=none"]
    cases = {
        "`l2rw_tf.main --help`, whole": ["l2rw_tf.main", "--help"],
        "TensorFlow and Keras imported, nothing else": ["benchmarks.start"],
        "`l2rw_tf.main`, LeNet, to the end of the first step, plain": [
            *("benchmarks.start", "--network=lenet", "--method=plain", *run),
        ],
        "`l2rw_tf.main`, LeNet, to the end of the first step": [
            *("benchmarks.start", "--network=lenet", *run),
        ],
        "`l2rw_tf.main`, ResNet-32, to the end of the first step, plain": [
            *("benchmarks.start", "--network=resnet32", "--method=plain", *run),
        ],
        "`l2rw_tf.main`, ResNet-32, to the end of the first step": [
            *("benchmarks.start", "--network=resnet32", *run),
        ],
    }
    yield "| what | seconds |"
    yield "|---|---|"
    for what, arguments in cases.items():
        taken = statistics.median(_seconds(arguments) for _ in range(_TIMES))
        yield f"| {what} | {taken:.2f} |"


def _seconds(arguments: list[str]) -> float:
    """Returns the seconds until the time that the process prints, or until it ends."""
    with tempfile.TemporaryDirectory() as directory:
        if len(arguments) > 2:
            arguments = [*arguments, f"--run_dir={directory}/run"]
        begin = time.time()
        done = subprocess.run(
            [sys.executable, "-m", *arguments], capture_output=True, text=True, check=True
        )
        end = time.time()
    last = done.stdout.split()[-1]
    return (float(last) if arguments[0] == "benchmarks.start" else end) - begin


def main() -> None:
    """Trains until the end of the first step."""
    import keras

    from l2rw_tf import main as program

    class FirstStep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            print(time.time(), flush=True)
            os._exit(0)

    if not sys.argv[1:]:
        print(time.time())
        return

    from l2rw_tf.runs import training

    train = training.train

    def train_one_step(*arguments: object, callbacks: tuple = (), **others: object) -> object:
        return train(*arguments, callbacks=[*callbacks, FirstStep()], **others)

    training.train = train_one_step
    program.main(sys.argv[1:])


if __name__ == "__main__":
    main()
