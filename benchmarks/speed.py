"""What a reweighted step costs beside a plain one: `make bench`, or `python -m benchmarks.speed`.

All variants of a network take their steps in turn in one process, so that whatever slows the
machine slows them alike; the figures are medians after warm-up and their ratios to Keras's own
plain step on the same network, data and batch. Prints Markdown; --output=FILE writes it as well.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import importlib.metadata
import importlib.util
import itertools
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from absl import app, flags, logging

FLAGS = flags.FLAGS
flags.DEFINE_list(
    "parts", ["steps", "growth", "memory", "start"], "Of steps, growth, memory, start, pipeline."
)
flags.DEFINE_list(
    "networks", ["lenet", "resnet32", "wrn28_10", "mlp", "transformer"], "For the table of steps."
)
flags.DEFINE_integer("steps", 25, "Steps of each variant that are timed.", lower_bound=3)
flags.DEFINE_integer("warm_up", 4, "Steps of each variant before that.", lower_bound=1)
flags.DEFINE_list("jit_compile", ["auto"], "Of auto, true, false: each is measured.")
flags.DEFINE_list("policies", ["float32"], "Of float32, mixed_bfloat16, mixed_float16.")
flags.DEFINE_bool("pytorch", True, "PyTorch's steps as well, where it is installed.")
flags.DEFINE_string("output", "", "A Markdown file to write as well.")
flags.DEFINE_string("memory_of", "", "Used by this program itself: prints one variant's peak.")
flags.DEFINE_integer("batch_size", 100, "Training batch of memory_of.")

Take = Callable[[], None]
Variant = tuple[str, int, str]

# Name, clean batch (0 for none), what of the network u is taken through.
VARIANTS: list[Variant] = [
    ("plain", 0, ""),
    ("literal look-ahead, clean 100", 100, "literal"),
    ("exact, clean 100", 100, "all"),
    ("exact, clean 10", 10, "all"),
    ("head, clean 100", 100, "head"),
    ("head, clean 10", 10, "head"),
]
BATCH = {"wrn28_10": 8}


def build(name: str) -> tuple[Any, tuple[int, ...]]:
    """Returns a network and the shape of an example."""
    import keras

    from l2rw_tf import networks

    keras.utils.set_random_seed(0)
    if name == "transformer":
        inputs = keras.Input((64, 64))
        x = inputs
        for _ in range(2):
            x = keras.layers.LayerNormalization()(x + keras.layers.MultiHeadAttention(4, 16)(x, x))
            hidden = keras.layers.Dense(128, "gelu")(x)
            x = keras.layers.LayerNormalization()(x + keras.layers.Dense(64)(hidden))
        outputs = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling1D()(x))
        return keras.Model(inputs, outputs), (64, 64)
    shape = {"lenet": (28, 28, 1), "mlp": (100,)}.get(name, (32, 32, 3))
    return networks.get(name, input_shape=shape, num_classes=10), shape


def keras_step(name: str, batch: int, clean: int, kind: str, jit_compile: str) -> Take:
    """Returns a function that takes one compiled Keras step and waits for it."""
    import keras
    import tensorflow as tf

    import l2rw_tf
    from l2rw_tf.reweighting.batches import TRAINING
    from l2rw_tf.reweighting.meta_gradient import get_meta_gradient
    from l2rw_tf.reweighting.passes import call_for_training

    class Literal(l2rw_tf.ReweightingModel):
        """The step of the paper to the letter: look ahead, then pass forward once more."""

        def train_step(self, data: Any) -> Any:
            network, (x, y) = self.network, data[TRAINING]
            u = get_meta_gradient("look_ahead")(
                network,
                self._example_losses,
                data[TRAINING],
                data["clean"],
                network.trainable_variables,
            )
            with tf.GradientTape() as tape:
                losses = self._example_losses(y, call_for_training(network, x))
                loss = tf.reduce_sum(l2rw_tf.normalize(u) * losses)
            variables = network.trainable_variables
            gradients = tape.gradient(loss, [v.value for v in variables])
            self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
            return {"loss": loss}

    network, shape = build(name)
    x = tf.random.stateless_normal((max(batch, clean), *shape), (0, 0))
    y = tf.random.stateless_uniform((max(batch, clean),), (0, 0), 0, 10, tf.int32)
    data: Any = (x[:batch], y[:batch])
    model = network
    if clean:
        data = {TRAINING: data, "clean": (x[:clean], y[:clean])}
        model = Literal(network) if kind == "literal" else l2rw_tf.ReweightingModel(network, kind)
    model.compile(
        keras.optimizers.SGD(1e-3, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile={"auto": "auto", "true": True, "false": False}[jit_compile],
    )
    model.make_train_function()
    batches = iter(tf.data.Dataset.from_tensors(data).repeat())
    return lambda: model.train_function(batches)["loss"].numpy()


def torch_step(name: str, batch: int, clean: int, nested: bool) -> Take:
    """Returns the same in PyTorch."""
    from benchmarks.torch_nested import Step

    return Step(name, batch, clean, nested)


def interleave(takes: dict[str, Take]) -> dict[str, tuple[float, float, float, float]]:
    """Returns for each variant the first step's seconds, the median and the quartiles."""
    first: dict[str, float] = {}
    seconds: dict[str, list[float]] = {name: [] for name in takes}
    for round_ in range(FLAGS.warm_up + FLAGS.steps):
        for name, take in takes.items():
            begin = time.perf_counter()
            take()
            taken = time.perf_counter() - begin
            first.setdefault(name, taken)
            if round_ >= FLAGS.warm_up:
                seconds[name].append(taken)
    result = {}
    for name, values in seconds.items():
        low, middle, high = statistics.quantiles(values, n=4)
        result[name] = (first[name], middle, low, high)
    return result


def steps_table() -> Iterator[str]:
    """The cost of a step by network and variant."""
    import keras

    torch_there = FLAGS.pytorch and importlib.util.find_spec("torch") is not None
    yield "| network | batch | variant | ms a step | quartiles | times plain | compile s |"
    yield "|---|---|---|---|---|---|---|"
    for name in FLAGS.networks:
        for policy in FLAGS.policies:
            for jit_compile in FLAGS.jit_compile:
                batch = BATCH.get(name, 100)
                keras.config.set_dtype_policy(policy)
                takes = {
                    variant: keras_step(name, batch, min(clean, batch), kind, jit_compile)
                    for variant, clean, kind in VARIANTS
                }
                keras.config.set_dtype_policy("float32")
                if torch_there and name in ("lenet", "resnet32"):
                    takes["PyTorch plain"] = torch_step(name, batch, 0, False)
                    takes["PyTorch nested, clean 100"] = torch_step(name, batch, 100, True)
                measured = interleave(takes)
                plain = measured["plain"][1]
                label = name + "".join(
                    f", {what}"
                    for what in (policy, f"jit {jit_compile}")
                    if what not in ("float32", "jit auto")
                )
                for variant, (first, middle, low, high) in measured.items():
                    yield (
                        f"| {label} | {batch} | {variant} | {1e3 * middle:.1f} | "
                        f"{1e3 * low:.1f} to {1e3 * high:.1f} | {middle / plain:.2f} | "
                        f"{first:.1f} |"
                    )


def growth_table() -> Iterator[str]:
    """How the step grows with training batch, clean batch and depth."""
    yield "| network | batch | clean batch | plain ms | exact ms | times plain |"
    yield "|---|---|---|---|---|---|"
    cases = [("lenet", n, 100) for n in (25, 50, 100, 200, 400)]
    cases += [("lenet", 100, m) for m in (1, 10, 50, 200)]
    cases += [(f"resnet{depth}", 25, 25) for depth in (20, 32, 44, 56)]
    for name, batch, clean in cases:
        takes = {
            "plain": keras_step(name, batch, 0, "", "auto"),
            "exact": keras_step(name, batch, clean, "all", "auto"),
        }
        measured = interleave(takes)
        plain, exact = measured["plain"][1], measured["exact"][1]
        milliseconds = f"{1e3 * plain:.1f} | {1e3 * exact:.1f}"
        yield f"| {name} | {batch} | {clean} | {milliseconds} | {exact / plain:.2f} |"


def memory_table() -> Iterator[str]:
    """Peak resident memory, a process each; what TensorFlow takes by itself apart."""
    yield "| ResNet-32, batch | variant | peak MiB | above TensorFlow's own | times plain (whole) |"
    yield "|---|---|---|---|---|"
    own = _peak("nothing", 1)
    for batch in (50, 100, 200):
        plain = _peak("plain", batch)
        for variant in ("plain", "exact, clean 100", "exact, clean 10", "head, clean 100"):
            peak = plain if variant == "plain" else _peak(variant, batch)
            yield f"| {batch} | {variant} | {peak:.0f} | {peak - own:.0f} | {peak / plain:.2f} |"


def _peak(variant: str, batch: int) -> float:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.speed",
            f"--memory_of={variant}",
            f"--batch_size={batch}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def print_peak() -> None:
    """Takes a few steps of one variant and prints the peak resident memory in MiB."""
    import resource

    import tensorflow  # noqa: F401

    for name, clean, kind in VARIANTS:
        if name == FLAGS.memory_of:
            take = keras_step(
                "resnet32", FLAGS.batch_size, min(clean, FLAGS.batch_size), kind, "auto"
            )
            for _ in range(4):
                take()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def start_table() -> Iterator[str]:
    """Seconds from the start of the program."""
    import tempfile

    yield "| from the start of `l2rw_tf.main` | seconds |"
    yield "|---|---|"
    for what, arguments in (
        ("to the end of --help", ["--help"]),
        ("to the end of one step on digits and its evaluation", ["--max_steps=1"]),
    ):
        taken = []
        for _ in range(3):
            with tempfile.TemporaryDirectory() as directory:
                run = ["--dataset=digits", "--network=lenet", f"--run_dir={directory}/run"]
                begin = time.perf_counter()
                subprocess.run(
                    [sys.executable, "-m", "l2rw_tf.main", *run, *arguments],
                    capture_output=True,
                    check=True,
                )
                taken.append(time.perf_counter() - begin)
        yield f"| {what} | {statistics.median(taken):.2f} |"


def pipeline_table() -> Iterator[str]:
    """Examples a second of the input pipeline alone."""
    import numpy as np

    from l2rw_tf.data import pipeline
    from l2rw_tf.data.examples import Examples
    from l2rw_tf.data.preprocessing import Preprocessing

    yield "| images | augmentation | examples a second |"
    yield "|---|---|---|"
    for shape, augment in (
        ((28, 28, 1), "none"),
        ((28, 28, 1), "crop"),
        ((32, 32, 3), "crop_flip"),
    ):
        n = 10_000
        x = np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8)
        examples = Examples(x=x, y=np.zeros(n, np.int64), ids=np.arange(n))
        batches = iter(
            pipeline.training_batches(
                examples,
                Preprocessing.fit(examples, "image"),
                batch_size=100,
                seed=0,
                augment=augment,
            )
        )
        rates = []
        for _ in range(5):
            begin = time.perf_counter()
            for _ in range(100):
                next(batches)
            rates.append(100 * 100 / (time.perf_counter() - begin))
        yield f"| {shape} | {augment} | {statistics.median(rates):,.0f} |"


TABLES = {
    "steps": ("Cost of a step", steps_table),
    "growth": ("Growth", growth_table),
    "memory": ("Peak memory of a process", memory_table),
    "start": ("Start", start_table),
    "pipeline": ("Input pipeline alone", pipeline_table),
}


def machine() -> str:
    """One line on machine and versions."""
    import tensorflow as tf

    gpus = [
        tf.config.experimental.get_device_details(gpu)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    names = [gpu.get("device_name", "GPU") for gpu in gpus] or [f"{os.cpu_count()} CPU cores"]
    packages = [p for p in ("tensorflow", "keras", "torch") if importlib.util.find_spec(p)]
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in packages)
    return (
        f"{', '.join(names)} ({platform.machine()}), Python {platform.python_version()}, {versions}"
    )


def main(argv: list[str]) -> None:
    """Prints the tables that were asked for."""
    # Each variant is traced once, which TensorFlow takes for one function traced again and again.
    logging.set_verbosity(logging.ERROR)
    if FLAGS.memory_of:
        print_peak()
        return
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
