"""Records the results of trainings, so that two states of the code can be compared bit for bit.

    python -m benchmarks.unchanged record DIR       trains and writes DIR
    python -m benchmarks.unchanged compare DIR DIR  prints the differences between two of them

Recorded are, with fixed seeds: 20 steps of five networks through all variables and through the head
(parameters, the weights of each step, the record of the examples, the logs); the digits demo
(reweighted, plain: parameters, metrics.csv, examples.csv); and a run that is killed and resumed.
Times are left out. Both must be made on the same machine.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks import kill_test

STEPS, BATCH = 20, 6
NETWORKS = ("mlp", "convolutional", "lstm", "transformer", "transfer")
META_VARIABLES = ("all", "head")
DEMO = ("--flagfile=configs/digits_noisy.cfg", "--progress=none", "--notensorboard")


def train_network(name: str, meta_variables: str) -> dict[str, np.ndarray]:
    """Trains a network of the zoo for 20 steps and returns all results by name."""
    import keras

    import l2rw_tf
    from tests.reweighting import zoo

    keras.utils.set_random_seed(0)
    case = getattr(zoo, name)()
    x, y = keras.tree.map_structure(
        lambda part: np.tile(part, [4] + [1] * (part.ndim - 1)), case.batch
    )
    model = l2rw_tf.ReweightingModel(case.network, meta_variables=meta_variables)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), case.loss, case.loss_weights)
    weights = []

    class Weights(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            weights.append(model.example_record()["last_weight"])

    history = model.fit(
        x,
        y,
        batch_size=BATCH,
        epochs=STEPS * BATCH // len(y),
        clean_data=case.clean_batch,
        track_examples=True,
        callbacks=[Weights()],
        verbose=0,
    )
    found = {f"parameter {i}": value for i, value in enumerate(case.network.get_weights())}
    found["weights of each step"] = np.stack(weights)
    found |= {f"record {name}": column for name, column in model.example_record().items()}
    return found | {f"log {name}": np.array(values) for name, values in history.history.items()}


def outcome(directory: Path) -> dict[str, np.ndarray]:
    """Returns the results of a run, without times."""
    import keras

    network = keras.saving.load_model(directory / "model.keras")
    found = {f"parameter {i}": value for i, value in enumerate(network.get_weights())}
    for name in ("metrics", "examples"):
        with (directory / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for column in rows[0]:
            if column != "seconds":
                found[f"{name}.csv {column}"] = np.array([row[column] for row in rows])
    return found


def record(directory: Path) -> None:
    """Runs all trainings and writes an .npz file for each."""
    directory.mkdir(parents=True)

    def save(name: str, found: dict[str, np.ndarray]) -> None:
        np.savez(directory / f"{name}.npz", **{k.replace("/", "|"): v for k, v in found.items()})
        print(f"{name}: {len(found)} arrays", flush=True)

    for network in NETWORKS:
        for meta_variables in META_VARIABLES:
            found = train_network(network, meta_variables)
            save(f"{network}-paper-{meta_variables}", found)
    run_dir = directory / "run-paper"
    command = [sys.executable, "-m", "l2rw_tf.main", *DEMO, f"--run_dir={run_dir}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    save("digits-paper", outcome(run_dir))
    killed = directory / "run-killed"
    kill_test.run(killed, [*kill_test.FLAGS, "--resume"], 6, "step")
    resumed = kill_test.run(killed, [*kill_test.FLAGS, "--resume"])
    assert resumed.returncode == 0, resumed.stderr
    save("killed-and-resumed", outcome(killed))


def compare(before: Path, after: Path) -> int:
    """Prints the differences; returns 1 if there are any."""
    files = sorted({path.name for place in (before, after) for path in place.glob("*.npz")})
    worst = 0
    for file in files:
        if not (before / file).exists() or not (after / file).exists():
            print(f"{file}: only in one of the two")
            worst = 1
            continue
        one, other = (dict(np.load(place / file)) for place in (before, after))
        differing = sorted(one.keys() ^ other.keys())
        for name in sorted(one.keys() & other.keys()):
            a, b = one[name], other[name]
            if not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
                numbers = a.dtype.kind == b.dtype.kind == "f" and a.shape == b.shape
                how = f" by {np.nanmax(np.abs(a - b)):.3g}" if numbers else ""
                differing.append(name + how)
        print(f"{file}: " + (", ".join(differing) or f"identical ({len(one)} arrays)"))
        worst = worst or bool(differing)
    return int(worst)


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("record", "compare"))
    parser.add_argument("directories", nargs="+", type=Path)
    options = parser.parse_args()
    if options.command == "record":
        return record(*options.directories) or 0
    return compare(*options.directories)


if __name__ == "__main__":
    sys.exit(main())
