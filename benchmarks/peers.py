"""The project's step beside those that one could write by hand in PyTorch and in JAX.

Each runs in a separate process and starts from the same parameters and batches. After three steps
their u (of plain steps, the losses) must agree: that shows that networks, u, weights and updates
do. Then they are timed in turn.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.peer_process import Peer, started
from benchmarks.timing import Timing, interleave

NETWORKS = ("lenet", "resnet32")
# Greatest difference from Keras's, as a fraction of the largest |u| or loss: float32, three steps.
TOLERANCE = 4e-3
_MODULES = {"peer_keras": "tensorflow", "peer_torch": "torch", "peer_jax": "jax"}


@dataclasses.dataclass(frozen=True)
class Row:
    """A step that is measured.

    Attributes:
        name: For the table.
        program: A file of benchmarks/ that serves.
        form: Which step that program takes.
        clean: Clean batch, 0 for a plain step.
    """

    name: str
    program: str
    form: str
    clean: int = 0

    def __str__(self) -> str:
        return f"{self.name}, clean {self.clean}" if self.clean else self.name


@dataclasses.dataclass(frozen=True)
class Measured:
    """What came of a row on one device: seconds of a step, of the first one, peaks in MiB."""

    timing: Timing
    first: float
    resident: float
    gpu: float | None


def rows(network: str) -> list[Row]:
    """Returns the steps whose library is installed, each framework's plain one first."""
    # The faster of two ways: less work for the small network, less memory for the deep one.
    torch_forward = {"lenet": "forward", "resnet32": "forward_apart"}[network]
    forms = [
        ("Keras plain", "peer_keras", "plain"),
        ("l2rw_tf nested", "peer_keras", "exact"),
        ("l2rw_tf forward", "peer_keras", "forward"),
        ("PyTorch plain", "peer_torch", "plain"),
        ("PyTorch nested", "peer_torch", "nested"),
        ("PyTorch forward", "peer_torch", torch_forward),
        ("JAX plain", "peer_jax", "plain"),
        ("JAX forward", "peer_jax", "forward"),
    ]
    return [
        Row(name, program, form, clean)
        for name, program, form in forms
        if importlib.util.find_spec(_MODULES[program])
        for clean in ((0,) if form == "plain" else (100, 10))
    ]


def peers_table(networks: Sequence[str], **rounds: int) -> Iterator[str]:
    """Time and memory of each step, on the CPU and, if there is one, on the GPU.

    Args:
        networks: Of `NETWORKS`.
        **rounds: For `interleave`.
    """
    yield (
        "| network | step | ms per step | quartiles | times its plain | times Keras plain | "
        "first step s | peak MiB | differs by | GPU ms | times its plain | peak GPU MiB |"
    )
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for network in networks:
        on_cpu, differences = measure(network, gpu=False, **rounds)
        on_gpu = measure(network, gpu=True, **rounds)[0] if shutil.which("nvidia-smi") else {}
        for row, found in on_cpu.items():
            yield (
                f"| {network} | {row} | {_cells(row, on_cpu)} | {found.first:.1f} | "
                f"{found.resident:.0f} | {differences[row]:.0e} | {_gpu_cells(row, on_gpu)} |"
            )


def measure(network: str, gpu: bool, **rounds: int) -> tuple[dict[Row, Measured], dict[Row, float]]:
    """Measures the steps of a network in turn, and by how much they differ from Keras's.

    Args:
        network: Of `NETWORKS`.
        gpu: Whether they may see a GPU.
        **rounds: For `interleave`.

    Raises:
        RuntimeError: If one computes something else.
    """
    with contextlib.ExitStack() as scope:
        start = Path(scope.enter_context(tempfile.TemporaryDirectory())) / "start.npz"
        peers, first, memory, checked = {}, {}, {}, {}
        for row in rows(network):
            arguments = (network, row.form, row.clean, start)
            peer = scope.enter_context(started(row.program, *arguments, gpu=gpu))
            peer.ask("memory")  # Answered once its library is imported.
            first[row] = _first_step(peer)
            peer.take(2)
            # Before the check, which may take more.
            memory[row] = peer.ask("memory")
            checked[row] = np.array(peer.ask("check"))
            peers[row] = peer
        differences = {row: difference(checked, row) for row in checked}
        timings = interleave({str(row): peer.take for row, peer in peers.items()}, **rounds)
    return {
        row: Measured(timings[str(row)], first[row], **memory[row]) for row in peers
    }, differences


def difference(checked: dict[Row, np.ndarray], row: Row) -> float:
    """Returns by what fraction a row's u differs from that of Keras's first with its clean batch.

    Raises:
        RuntimeError: If it is more than `TOLERANCE`.
    """
    expected = next(values for one, values in checked.items() if one.clean == row.clean)
    found = float(np.max(np.abs(checked[row] - expected)) / np.max(np.abs(expected)))
    if not found <= TOLERANCE:
        raise RuntimeError(f"{row} computes something else: u differs by {found:.1e} of its range.")
    return found


def _first_step(peer: Peer) -> float:
    begin = time.perf_counter()
    peer.take(1)
    return time.perf_counter() - begin


def _plain(row: Row, measured: dict[Row, Measured]) -> float:
    return next(one.timing.median for key, one in measured.items() if key.program == row.program)


def _cells(row: Row, measured: dict[Row, Measured]) -> str:
    timing = measured[row].timing
    keras_plain = next(iter(measured.values())).timing.median
    return (
        f"{1e3 * timing.median:.2f} | {1e3 * timing.low:.2f} to {1e3 * timing.high:.2f} | "
        f"{timing.median / _plain(row, measured):.2f} | {timing.median / keras_plain:.2f}"
    )


def _gpu_cells(row: Row, measured: dict[Row, Measured]) -> str:
    if row not in measured or measured[row].gpu is None:  # Its library sees none.
        return "| |"
    found = measured[row]
    times = found.timing.median / _plain(row, measured)
    return f"{1e3 * found.timing.median:.2f} | {times:.2f} | {found.gpu:.0f}"
