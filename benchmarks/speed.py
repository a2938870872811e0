"""The cost of a reweighted step relative to plain Keras: `python -m benchmarks.speed`.

All variants of a network take their steps in turn, so that other load slows all of them alike. The
tables have medians after warm-up, and their ratios to Keras's own plain step on the same network,
data and batch. Prints Markdown; --output=FILE also writes it to a file.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import importlib.metadata
import importlib.util
import itertools
import platform
from collections.abc import Iterator

from absl import app, flags, logging

FLAGS = flags.FLAGS
flags.DEFINE_list(
    "networks", ["lenet", "resnet32", "wrn28_10", "mlp", "transformer"], "Networks to measure."
)
flags.DEFINE_list(
    "variants",
    [
        *("plain", "literal:100", "exact:100", "exact:10", "head:100", "head:10"),
        *("plain?", "exact:100?", "exact:10?"),
    ],
    "Variants of the step as KIND:CLEAN_BATCH, plain first; kinds are plain, literal, exact, "
    "forward, last_block, head, tracked, everyK. A ? at the end: data that does not say its batch "
    "size.",
)
flags.DEFINE_integer("samples", 25, "Number of measurements per variant.", lower_bound=3)
flags.DEFINE_integer("warm_up", 4, "Number of warm-up measurements before these.", lower_bound=1)
flags.DEFINE_integer(
    "steps_a_sample", 0, "Steps per measurement; 0 means 1, or 10 on a GPU.", lower_bound=0
)
flags.DEFINE_list("jit_compile", ["auto"], "Values to measure: auto, true, false.")
flags.DEFINE_list("policies", ["float32"], "Policies: float32, mixed_bfloat16, mixed_float16.")
flags.DEFINE_float("seconds", 0, "In the table of steps, networks after this time are left out.")
flags.DEFINE_list("memory_batches", ["50", "100", "200"], "Batch sizes of the table of memory.")
flags.DEFINE_string("output", "", "Also writes the tables to this Markdown file.")


def _rounds() -> dict[str, int]:
    from benchmarks import steps

    return {
        "samples": FLAGS.samples,
        "warm_up": FLAGS.warm_up,
        "steps_a_sample": FLAGS.steps_a_sample or (10 if steps.on_gpu() else 1),
    }


def _steps() -> Iterator[str]:
    from benchmarks import keras_steps, steps

    return steps.steps_table(
        FLAGS.networks,
        [keras_steps.Variant.parse(text) for text in FLAGS.variants],
        FLAGS.policies,
        FLAGS.jit_compile,
        FLAGS.seconds,
        **_rounds(),
    )


def _growth() -> Iterator[str]:
    from benchmarks import steps

    return steps.growth_table(**_rounds())


def _record() -> Iterator[str]:
    from benchmarks import steps

    return steps.record_table(["lenet"])


def _executions() -> Iterator[str]:
    from benchmarks import steps

    return steps.executions_table(["lenet", "mlp"], **_rounds())


def _operations() -> Iterator[str]:
    from benchmarks import keras_steps, operations

    variants = [keras_steps.Variant.parse(text) for text in FLAGS.variants]
    return operations.operations_table(["lenet", "resnet32", "transformer"], variants)


def _profile() -> Iterator[str]:
    from benchmarks import keras_steps, operations

    variants = [keras_steps.Variant.parse(text) for text in ("plain", "exact:100")]
    return operations.profile_table(["lenet", "resnet32"], variants)


def _memory() -> Iterator[str]:
    from benchmarks import memory

    return memory.memory_table("resnet32", [int(batch) for batch in FLAGS.memory_batches])


def _peers() -> Iterator[str]:
    from benchmarks import peers

    return peers.peers_table([one for one in FLAGS.networks if one in peers.NETWORKS], **_rounds())


def _start() -> Iterator[str]:
    from benchmarks import start

    return start.start_table()


def _pipeline() -> Iterator[str]:
    from benchmarks import input_pipeline

    return input_pipeline.pipeline_table()


TABLES = {
    "steps": ("Cost of a step", _steps),
    "growth": ("Growth with training batch, clean batch and depth", _growth),
    "record": ("The record of the examples", _record),
    "executions": ("Steps per call of the compiled function", _executions),
    "operations": ("Operations in the optimized graph", _operations),
    "profile": ("Where the time goes", _profile),
    "memory": ("Peak memory of a process", _memory),
    "peers": ("Beside PyTorch and JAX (requirements-bench.txt)", _peers),
    "start": ("Start", _start),
    "pipeline": ("Input pipeline alone", _pipeline),
}
flags.DEFINE_list("parts", list(TABLES), f"Tables to make: {', '.join(TABLES)}.")


def machine() -> str:
    """Returns one line with the machine and the versions."""
    import tensorflow as tf

    gpus = [
        tf.config.experimental.get_device_details(gpu)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    names = [gpu.get("device_name", "GPU") for gpu in gpus] or [
        f"{os.cpu_count()} CPU cores, load {os.getloadavg()[0]:.1f}"
    ]
    packages = [p for p in ("tensorflow", "keras", "torch", "jax") if importlib.util.find_spec(p)]
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in packages)
    return (
        f"{', '.join(names)} ({platform.machine()}), Python {platform.python_version()}, {versions}"
    )


def main(argv: list[str]) -> None:
    """Prints the requested tables."""
    # Each variant is traced once; TensorFlow warns as if one function were traced repeatedly.
    logging.set_verbosity(logging.ERROR)
    lines = [machine() + "."]
    print(lines[0], flush=True)
    for part in FLAGS.parts:
        title, table = TABLES[part]
        for line in itertools.chain(["", f"### {title}", ""], table()):
            print(line, flush=True)
            lines.append(line)
    if FLAGS.output:
        with open(FLAGS.output, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    app.run(main)
