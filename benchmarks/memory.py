"""Peak memory of trainings, each in a separate process.

`python -m benchmarks.memory NETWORK BATCH VARIANT` takes some steps and prints the peak in MiB: of
GPU memory if there is a GPU, otherwise of the resident set.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence

# With so few examples, memory is that of TensorFlow, the network and the graph of its step.
_HARDLY_ANY = 2


def memory_table(network: str, batches: Sequence[int]) -> Iterator[str]:
    """Yields the table of peaks by batch and variant, with the part of the activations.

    Args:
        network: A name that `keras_steps.build` knows.
        batches: Sizes of the training batch.
    """
    yield (
        "| network | batch | variant | peak MiB | times plain | TensorFlow and graph | "
        "activations | times plain |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    kinds = ("plain", "exact", "head")
    alone = {kind: _peak(network, _HARDLY_ANY, kind, _HARDLY_ANY) for kind in kinds}
    for batch in batches:
        plain = _peak(network, batch, "plain", 0)
        for kind, clean in (("plain", 0), ("exact", batch), ("exact", 10), ("head", batch)):
            peak = _peak(network, batch, kind, clean) if clean else plain
            activations = peak - alone[kind]
            yield (
                f"| {network} | {batch} | {kind}{f', clean {clean}' if clean else ''} | "
                f"{peak:.0f} | {peak / plain:.2f} | {alone[kind]:.0f} | {activations:.0f} | "
                f"{activations / (plain - alone['plain']):.2f} |"
            )


def _peak(network: str, batch: int, kind: str, clean: int) -> float:
    variant = kind if kind == "plain" else f"{kind}:{clean}"
    command = [sys.executable, "-m", "benchmarks.memory", network, str(batch), variant]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Takes some steps and prints the peak."""
    import tensorflow as tf

    from benchmarks.keras_steps import Variant, keras_step
    from benchmarks.peer_process import peak_resident

    name, batch, variant = sys.argv[1:]
    keras_step(name, int(batch), Variant.parse(variant))(4)
    if tf.config.list_physical_devices("GPU"):
        print(tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20)
    else:
        print(peak_resident())


if __name__ == "__main__":
    main()
