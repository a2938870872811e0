"""Peak memory of a run on many large images, under a hard limit.

`python -m benchmarks.large_images FOLDER [--any_flag_of_l2rw_tf.main ...]` creates FOLDER, with
20,000 JPEG files of 224x224 in ten classes, unless it exists; trains some steps on it in a process
that may not write to more than 4 GiB of memory (`RLIMIT_DATA`, `ulimit -d` in a shell), and prints
the peak memory of this process.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

LIMIT = 4 << 30
_IMAGES, _CLASSES, _SIZE = 20_000, 10, 224
_FLAGS = (
    "--noise_type=uniform",
    "--noise_ratio=0.2",
    "--network=lenet",
    "--batch_size=32",
    "--max_steps=5",
    "--progress=none",
    "--notensorboard",
)
_FIELDS = {"VmHWM": "resident", "RssAnon": "of it not files", "VmData": "data"}


def make(folder: Path, images: int = _IMAGES, size: int = _SIZE) -> None:
    """Writes FOLDER/CLASS/IMAGE: coloured clouds, with different shades for each class.

    Args:
        folder: A new folder.
        images: Total number of images.
        size: Height and width in pixels.
    """
    random = np.random.default_rng(0)
    shades = random.integers(60, 196, (_CLASSES, 3))
    for label in range(_CLASSES):
        (folder / f"class{label}").mkdir(parents=True)
    for number in range(images):
        label = number % _CLASSES
        cloud = (shades[label] + random.normal(0, 40, (8, 8, 3))).clip(0, 255).astype(np.uint8)
        picture = Image.fromarray(cloud).resize((size, size), Image.Resampling.BICUBIC)
        picture.save(folder / f"class{label}" / f"{number:05}.jpg", quality=85)


def peaks(flags: list[str]) -> tuple[int, dict[str, float]]:
    """Runs `l2rw_tf.main` under the limit.

    Args:
        flags: The flags of the program.

    Returns:
        The exit code, and the largest values in MiB of the `_FIELDS` in /proc/PID/status.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "l2rw_tf.main", *flags],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT)),
    )
    status = Path(f"/proc/{process.pid}/status")
    found = dict.fromkeys(_FIELDS, 0.0)
    while process.poll() is None:
        for line in status.read_text().splitlines():
            name, _, value = line.partition(":")
            if name in found:
                found[name] = max(found[name], int(value.split()[0]) / 1024)
        time.sleep(0.1)
    return process.returncode, found


def main() -> None:
    """Creates the folder, trains, and prints the peaks."""
    folder, *flags = sys.argv[1:]
    if not Path(folder).exists():
        make(Path(folder))
    with tempfile.TemporaryDirectory() as directory:
        given = [f"--dataset={folder}", *_FLAGS, f"--run_dir={directory}/run", *flags]
        begin = time.monotonic()
        code, found = peaks(given)
    words = ", ".join(f"{what} {found[name]:,.0f} MiB" for name, what in _FIELDS.items())
    print(f"exit code {code} after {time.monotonic() - begin:.0f} s; peaks: {words}")


if __name__ == "__main__":
    main()
