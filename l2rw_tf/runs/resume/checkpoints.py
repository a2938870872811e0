"""Checkpoints on disk: each is a directory, complete or absent, verified by checksums."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_ARRAYS, _PROGRESS, _SUMS = "arrays.npz", "progress.json", "SHA256SUMS"
_PREFIX, _FINISHED, _UNFINISHED = "step-", "finished-", ".unfinished-checkpoint"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The state of a run at one step.

    Attributes:
        step: Number of steps so far.
        progress: The part of the state that JSON can store.
        arrays: Arrays by name; names may contain slashes.
    """

    step: int
    progress: Mapping[str, object]
    arrays: Mapping[str, np.ndarray]

    def arrays_under(self, prefix: str) -> dict[str, np.ndarray]:
        """Returns the arrays whose names start with a prefix, by the rest of their names."""
        return {
            name.removeprefix(prefix): array
            for name, array in self.arrays.items()
            if name.startswith(prefix)
        }


class Checkpoints:
    """The newest checkpoints of a run, each a directory `step-NUMBER`, and finished trainings.

    A checkpoint is written under a temporary name, synced to disk and then renamed. Its file
    `SHA256SUMS` has the format of `sha256sum`, so `sha256sum -c` can verify it too.

    Attributes:
        damaged: A sentence for each damaged checkpoint that was skipped.
    """

    def __init__(self, path: Path, keep: int, writes: bool = True) -> None:
        """Lists the checkpoints in a directory, which need not exist yet.

        Args:
            path: The directory.
            keep: The number of checkpoints to keep.
            writes: Whether this process writes checkpoints; False if another worker does.
        """
        self.path = path
        self._keep = keep
        self.writes = writes
        self.damaged: list[str] = []
        self._usable = sorted(path.glob(f"{_PREFIX}*"))

    @property
    def newest_path(self) -> Path | None:
        """Path of the newest checkpoint that is not known to be damaged, or None."""
        return self._usable[-1] if self._usable else None

    def newest(self) -> Checkpoint | None:
        """Returns the newest intact checkpoint, or None."""
        while self._usable:
            try:
                return _read(self._usable[-1])
            except _Damaged as reason:
                self.damaged.append(
                    f"checkpoint {self._usable.pop()} is damaged ({reason}); trying the one before "
                    "it."
                )
        return None

    def finished(self) -> list[Checkpoint]:
        """Returns the saved finished trainings, in the order of their names."""
        found = []
        for path in sorted(self.path.glob(f"{_FINISHED}*")):
            try:
                found.append(_read(path))
            except _Damaged as reason:
                self.damaged.append(f"{path} is damaged ({reason}); this training is repeated.")
        return found

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint and removes old and damaged ones.

        Args:
            checkpoint: The checkpoint; ignored if one of the same step exists.

        Raises:
            OSError: If it cannot be written; earlier checkpoints are kept in this case.
        """
        final = self.path / f"{_PREFIX}{checkpoint.step:010}"
        if final in self._usable or not self.writes:
            return
        self._write_whole(checkpoint, final)
        self._usable = [*self._usable, final][-self._keep :]
        for other in self.path.glob(f"{_PREFIX}*"):
            if other not in self._usable:
                shutil.rmtree(other, ignore_errors=True)

    def save_finished(self, name: str, left: Checkpoint) -> None:
        """Writes a finished training, which is kept beside the checkpoints.

        Args:
            name: The name of the training.
            left: Its results, and its network's parameters as arrays.

        Raises:
            OSError: If it cannot be written.
        """
        if self.writes:
            self._write_whole(left, self.path / f"{_FINISHED}{name}")

    def _write_whole(self, checkpoint: Checkpoint, final: Path) -> None:
        unfinished = self.path / _UNFINISHED
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            _write(checkpoint, unfinished)
            shutil.rmtree(final, ignore_errors=True)
            os.rename(unfinished, final)
            _sync(self.path)
        except OSError as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            # NumPy's errors do not name the file.
            raise OSError(error.errno, error.strerror or str(error), str(final)) from error


class _Damaged(Exception):
    """A checkpoint whose files are missing or changed."""


def _write(checkpoint: Checkpoint, directory: Path) -> None:
    with (directory / _ARRAYS).open("wb") as file:
        np.savez(file, **checkpoint.arrays)
    content = {"step": checkpoint.step, **checkpoint.progress}
    (directory / _PROGRESS).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    (directory / _SUMS).write_text(_sums(directory), encoding="utf-8")
    for name in (_ARRAYS, _PROGRESS, _SUMS):
        _sync(directory / name)
    _sync(directory)


def _read(directory: Path) -> Checkpoint:
    try:
        if (directory / _SUMS).read_bytes() != _sums(directory).encode():
            raise _Damaged(f"its files do not match {_SUMS}")
        with np.load(directory / _ARRAYS, allow_pickle=False) as file:
            arrays = dict(file)
        progress = json.loads((directory / _PROGRESS).read_text(encoding="utf-8"))
    except OSError as error:
        name = os.path.basename(error.filename or "")
        raise _Damaged(f"{name}: {error.strerror or error}") from error
    return Checkpoint(progress.pop("step"), progress, arrays)


def _sums(directory: Path) -> str:
    lines = []
    for name in (_ARRAYS, _PROGRESS):
        with (directory / name).open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n")
    return "".join(lines)


def _sync(path: Path) -> None:
    """Syncs a file, or the entries of a directory, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
