"""Kills and resumes a run many times, and compares its results with those of an undisturbed run.

    python -m benchmarks.kill_test [--kills=30] [--kill_seed=0] [--directory=DIR] [--flag=value ...]

The run is killed by SIGKILL at random moments: after a training step, or at an operation on a file
of its directory, in the middle of a checkpoint or of the results. It writes a checkpoint per step.
At the end the parameters in model.keras, metrics.csv (except for times) and examples.csv must equal
those of the undisturbed run to the last bit. Other flags go to the run.
"""

from __future__ import annotations

import argparse
import collections
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLAGS = (
    "--dataset=digits",
    "--network=resnet8",
    "--noise_type=uniform",
    "--noise_ratio=0.4",
    "--clean_per_class=5",
    "--with_plain",
    "--early_stopping",
    "--finetune_steps=3",
    "--epochs=4",
    "--batch_size=200",
    "--checkpoint_minutes=0.00001",
    "--progress=none",
)

# The program of a separate process, which kills itself at the given moment.
_CHILD = """
import os, pathlib, signal, sys
from l2rw_tf import main
from tests import moments
directory, kind, number, *arguments = sys.argv[1:]

def kill():
    print("moment:", found[-1], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

with moments.happening(pathlib.Path(directory), kind, int(number), kill) as found:
    code = main.main(arguments)
print("moments:", len(found))
sys.exit(code)
"""


def environment() -> dict[str, str]:
    """Returns an environment in which the package is found and TensorFlow's logging is default."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return environment


def run(
    directory: Path, flags: Sequence[str], number: int = 0, kind: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs the program and kills it at a given moment.

    Args:
        directory: The run's directory.
        flags: The flags of the run, without `--run_dir`.
        number: The moment at which to kill it, counted from 1; 0 to let it finish.
        kind: Only moments whose description starts with this are counted, such as "step".

    Returns:
        The finished process; its last line of output is the moment, or the number of moments.
    """
    return subprocess.run(
        [
            *(sys.executable, "-c", _CHILD),
            *(str(directory.absolute()), kind, str(number)),
            *(*flags, f"--run_dir={directory}"),
        ],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )


def outcome(directory: Path) -> dict[str, object]:
    """Returns the results that must be equal: parameters, metrics and the table of examples."""
    import keras

    network = keras.saving.load_model(directory / "model.keras")
    with (directory / "metrics.csv").open(encoding="utf-8", newline="") as file:
        metrics = [{**row, "seconds": ""} for row in csv.DictReader(file)]
    examples = directory / "examples.csv"
    return {
        "parameters": [value.tobytes() for value in network.get_weights()],
        "metrics": metrics,
        "examples": examples.read_bytes() if examples.exists() else None,
    }


def main() -> int:
    """Runs the test and prints what happened."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--kill_seed", type=int, default=0)
    parser.add_argument("--directory", type=Path, default=None)
    options, others = parser.parse_known_args()
    directory = options.directory or Path(tempfile.mkdtemp(prefix="l2rw_kill_test_"))
    flags = [*FLAGS, *others]
    chance = random.Random(options.kill_seed)
    start = time.perf_counter()

    undisturbed = run(directory / "undisturbed", flags)
    moments = int(undisturbed.stdout.split()[-1])
    print(f"undisturbed: {moments} moments", flush=True)
    kinds: collections.Counter[str] = collections.Counter()
    for kill in range(1, options.kills + 1):
        # Steps are rare compared with file operations; the results are written last.
        kind = "open .unfinished-" if kill > 0.8 * options.kills else chance.choice(["step", ""])
        number = chance.randint(1, {"step": 2, "": moments // options.kills}.get(kind, 6))
        killed = run(directory / "killed", [*flags, "--resume"], number, kind)
        if killed.returncode != -signal.SIGKILL:
            break
        what = killed.stdout.splitlines()[-1].removeprefix("moment: ")
        kinds[_kind(what)] += 1
        print(f"kill {kill}: {what}", flush=True)
    last = run(directory / "killed", [*flags, "--resume"])
    print(last.stderr, end="")
    expected, found = outcome(directory / "undisturbed"), outcome(directory / "killed")
    same = {name: found[name] == expected[name] for name in expected}
    where = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    print(
        f"{kinds.total()} kills ({where}) in {time.perf_counter() - start:.0f} s; identical: "
        + ", ".join(f"{name} {'yes' if equal else 'NO'}" for name, equal in same.items())
    )
    return 0 if all(same.values()) and kinds.total() == options.kills else 1


def _kind(what: str) -> str:
    if what == "step":
        return "after a step"
    return "in a checkpoint" if "checkpoints" in what else "in other files"


if __name__ == "__main__":
    sys.exit(main())
