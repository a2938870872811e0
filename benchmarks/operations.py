"""The operations in the optimized graph of a step, and the time they take."""

from __future__ import annotations

import collections
import glob
import re
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.eager import context

from benchmarks.keras_steps import Variant, keras_step, model_and_data

# Each is one pass of the batch through a kernel: forward, back to inputs, back to the kernel.
CONVOLUTIONS = ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter")
_STEPS_PROFILED = 10


def optimized_graph(model: keras.Model, data: dict[str, Any]) -> tf.compat.v1.GraphDef:
    """Takes one step by `fit` and returns the optimized graph that was executed.

    Args:
        model: A compiled model whose step has not been traced.
        data: The arguments of `fit`.
    """
    context.enable_graph_collection()
    try:
        model.fit(**data, steps_per_epoch=1, shuffle=False, verbose=0)
        collected = context.context().export_run_metadata()
    finally:
        context.disable_graph_collection()
    graphs = (function.post_optimization_graph for function in collected.function_graphs)
    return max(graphs, key=lambda graph: len(graph.node))


def count(graph: tf.compat.v1.GraphDef) -> collections.Counter[str]:
    """Returns the number of operations of each kind in a graph; fused ones by their bare name."""
    return collections.Counter(node.op.removeprefix("_Fused") for node in graph.node)


def operations_table(networks: Sequence[str], variants: Sequence[Variant]) -> Iterator[str]:
    """Yields the table of convolutions and matrix products of a step, after optimization.

    Args:
        networks: Names of networks.
        variants: Variants of the step; the others are compared with the first.
    """
    yield (
        "| network | variant | Conv2D | Conv2DBackpropInput | Conv2DBackpropFilter | "
        "matrix products | convolutions times plain |"
    )
    yield "|---|---|---|---|---|---|---|"
    for name in networks:
        plain = 0
        for variant in variants:
            counted = count(optimized_graph(*model_and_data(name, 4, variant)))
            convolutions = [counted[operation] for operation in CONVOLUTIONS]
            products = counted["MatMul"] + counted["BatchMatMulV2"] + counted["Einsum"]
            plain = plain or sum(convolutions)
            times = f"{sum(convolutions) / plain:.2f}" if plain else ""
            counts = " | ".join(map(str, [*convolutions, products]))
            yield f"| {name} | {variant} | {counts} | {times} |"


def profile_table(networks: Sequence[str], variants: Sequence[Variant]) -> Iterator[str]:
    """Yields the table of the time of each operation on a CPU, by TensorFlow's profiler.

    Args:
        networks: Names of networks.
        variants: Variants of the step.
    """
    yield "| network | variant | operation | fraction of the time in operations |"
    yield "|---|---|---|---|"
    for name in networks:
        for variant in variants:
            milliseconds = _profile(name, variant)
            total = sum(milliseconds.values())
            for operation, value in milliseconds.most_common(8):
                yield f"| {name} | {variant} | {operation} | {100 * value / total:.0f}% |"


def _profile(name: str, variant: Variant) -> collections.Counter[str]:
    """Returns milliseconds by operation."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    take = keras_step(name, 100, variant)
    take(3)
    with tempfile.TemporaryDirectory() as directory:
        with tf.profiler.experimental.Profile(directory):
            take(_STEPS_PROFILED)
        (file,) = glob.glob(f"{directory}/**/*.xplane.pb", recursive=True)
        space = xplane_pb2.XSpace()
        with open(file, "rb") as stored:
            space.ParseFromString(stored.read())
    milliseconds: collections.Counter[str] = collections.Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name_and_operation = plane.event_metadata[event.metadata_id].name.split(":")
                # The function that contains the operations is an event too: leave it out.
                if len(name_and_operation) == 2 and "__inference" not in name_and_operation[1]:
                    operation = name_and_operation[1]
                    bare = re.sub("^_?(MklNative|Mkl)?(Fused)?|WithBias$", "", operation)
                    milliseconds[bare] += event.duration_ps / 1e9
    return milliseconds
