"""Seconds from the start of the program."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator


def start_table() -> Iterator[str]:
    """Seconds from the start of the program."""
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
