"""Peak memory of a training, each in a process of its own.

Run as a program, `python -m benchmarks.memory NETWORK BATCH VARIANT` prints the peak after some
steps; without arguments, what TensorFlow and Keras take by themselves.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator


def memory_table() -> Iterator[str]:
    """Peaks by batch and variant."""
    yield "| ResNet-32, batch | variant | peak MiB | above TensorFlow's own | times plain (whole) |"
    yield "|---|---|---|---|---|"
    own = _peak()
    for batch in (50, 100, 200):
        plain = _peak("resnet32", str(batch), "plain")
        for variant in ("plain", f"exact:{batch}", "exact:10", f"head:{batch}"):
            peak = plain if variant == "plain" else _peak("resnet32", str(batch), variant)
            yield f"| {batch} | {variant} | {peak:.0f} | {peak - own:.0f} | {peak / plain:.2f} |"


def _peak(*arguments: str) -> float:
    command = [sys.executable, "-m", "benchmarks.memory", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Prints the peak of this process in MiB: on a GPU of its memory, else the resident set."""
    import resource

    import keras  # noqa: F401
    import tensorflow as tf

    if sys.argv[1:]:
        from benchmarks.keras_steps import Variant, keras_step

        name, batch, variant = sys.argv[1:]
        keras_step(name, int(batch), Variant.parse(variant))(4)
    if tf.config.list_physical_devices("GPU"):
        print(tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20)
    else:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)


if __name__ == "__main__":
    main()
