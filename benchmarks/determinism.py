"""What TensorFlow's deterministic operations cost, on a CPU: `python -m benchmarks.determinism`.

Determinism is a setting of the whole process, so each measurement is a separate process, with and
without in turn; `python -m benchmarks.determinism NETWORK VARIANT BOOL` prints its median step.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

NETWORKS, VARIANTS, ROUNDS, STEPS = ("lenet", "resnet20"), ("plain", "exact:100"), 3, 25


def main() -> None:
    """Prints the table."""
    print("| network | variant | ms per step | deterministic | times |")
    print("|---|---|--:|--:|--:|")
    for network in NETWORKS:
        for variant in VARIANTS:
            found: dict[bool, list[float]] = {False: [], True: []}
            for _ in range(ROUNDS):
                for deterministic, medians in found.items():
                    medians.append(_in_a_process(network, variant, deterministic))
            free, fixed = (statistics.median(medians) for medians in found.values())
            print(
                f"| {network} | {variant} | {1e3 * free:.2f} | {1e3 * fixed:.2f} | "
                f"{fixed / free:.2f} |",
                flush=True,
            )


def _in_a_process(network: str, variant: str, deterministic: bool) -> float:
    command = [sys.executable, "-m", "benchmarks.determinism", network, variant, str(deterministic)]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def step(network: str, variant: str, deterministic: bool) -> float:
    """Returns the median time of a step in seconds, after warm-up."""
    import keras
    import tensorflow as tf

    from benchmarks.keras_steps import Variant, keras_step

    keras.utils.set_random_seed(0)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    take = keras_step(network, 100, Variant.parse(variant))
    take(1)
    take(5)
    seconds = []
    for _ in range(STEPS):
        begin = time.perf_counter()
        take(1)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        print(step(sys.argv[1], sys.argv[2], sys.argv[3] == "True"))
