"""The directory of one run: each file in it is complete or absent."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l2rw_tf.errors import UsageError
from l2rw_tf.runs import lock

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

PARENT = Path("runs")

# The flags as given; config.cfg instead names the data set that was actually used.
_FLAGS = "checkpoints/flags.cfg"
_UNFINISHED = ".unfinished-"


class RunDirectory:
    """The directory of one run.

    Attributes:
        path: Its path.
    """

    def __init__(self, path: Path | str) -> None:
        """Sets the path of the directory, which need not exist yet."""
        self.path = Path(path)

    @classmethod
    def create(cls, run_dir: str, name: str) -> RunDirectory:
        """Creates the directory.

        Args:
            run_dir: Its path. If empty, `runs/NAME` is used; if that exists, `runs/NAME-2` and so
                on.
            name: NAME.

        Raises:
            UsageError: If the directory is not empty or cannot be created.
        """
        if run_dir:
            check_vacant(run_dir)
            path = Path(run_dir)
            _make(path)
            return cls(path)
        for number in itertools.count(1):
            path = PARENT / (name if number == 1 else f"{name}-{number}")
            # Creating it is the test, so that two runs started together get two directories.
            with contextlib.suppress(FileExistsError):
                _make(path, exist_ok=False)
                return cls(path)
        raise AssertionError("the numbers never end")

    @property
    def is_begun(self) -> bool:
        """Whether the directory holds a run, finished or resumable."""
        return (self.path / _FLAGS).is_file()

    @property
    def is_finished(self) -> bool:
        """Whether the directory holds a finished run."""
        return (self.path / "results.json").exists()

    def write_flags(self, lines: Sequence[str]) -> None:
        """Writes the flags of the run; from here on it can be resumed."""
        self.write_text(_FLAGS, "\n".join([*lines, ""]))

    def read_flags(self) -> list[str]:
        """Returns the flags of the run, or an empty list if the directory holds no run."""
        if not self.is_begun:
            return []
        return (self.path / _FLAGS).read_text(encoding="utf-8").splitlines()

    def read_config(self) -> dict[str, str]:
        """Returns the values of the flags in config.cfg, by name."""
        lines = (self.path / "config.cfg").read_text(encoding="utf-8").splitlines()
        flags = (line.removeprefix("--") for line in lines if line.startswith("--"))
        return {name: value for name, _, value in (flag.partition("=") for flag in flags)}

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file in UTF-8."""
        with self._whole(name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def write_bytes(self, name: str, content: bytes) -> None:
        """Writes a binary file."""
        with self._whole(name) as temporary:
            temporary.write_bytes(content)

    def write_json(self, name: str, content: Mapping[str, Any] | Sequence[Any]) -> None:
        """Writes a JSON file; numbers that are not finite become null."""
        text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
        # Puts each list of numbers (confusion matrices) on one line; JSON strings have no newlines.
        text = re.sub(
            r"\[\n[-+.\deE,\s]+\]", lambda found: f"[{' '.join(found[0][1:-1].split())}]", text
        )
        self.write_text(name, text + "\n")

    def write_table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Writes a CSV file.

        Args:
            name: The name of the file.
            columns: The names of the columns.
            rows: The cells of each row; None is an empty cell, and floats have all their digits.
        """
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(itertools.chain([columns], rows))
        self.write_text(name, text.getvalue())

    def save_network(self, name: str, network: keras.Model) -> None:
        """Saves a network by `keras.Model.save`."""
        with self._whole(name) as temporary:
            network.save(temporary)

    def save_figure(self, name: str, figure: Figure) -> None:
        """Saves a matplotlib figure under figures/."""
        with self._whole(f"figures/{name}") as temporary:
            figure.savefig(temporary)

    @contextlib.contextmanager
    def _whole(self, name: str) -> Iterator[Path]:
        """Yields a temporary path in the same directory and renames the file once it is written."""
        final = self.path / name
        final.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays, since Keras and matplotlib choose the format by it.
        temporary = final.with_name(_UNFINISHED + final.name)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, final)
        except OSError as error:
            # The errors of the libraries do not always name the file.
            raise OSError(error.errno, error.strerror or str(error), str(final)) from error
        finally:
            # The temporary file still exists only if something went wrong.
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def damaged(path: Path, reason: str) -> UsageError:
    """Returns the error to raise for a file in a run directory that cannot be used."""
    return UsageError(f"{path} cannot be used: {reason}; repeat the run.")


def check_vacant(run_dir: str) -> None:
    """Checks that `run_dir` is a new or empty directory, or an empty string (for the default).

    Raises:
        UsageError: If the path is a file, or a directory that is not empty.
    """
    if not run_dir:
        return
    path = Path(run_dir)
    try:
        if path.exists() and not path.is_dir():
            raise UsageError(f"run_dir={run_dir} is a file: name a new or empty directory.")
        if not path.is_dir() or not any(map(_counts, path.rglob("*"))):
            return
        holds = "files already, but no run"
        if (path / _FLAGS).exists() or (path / "config.cfg").exists():
            holds = "a run already"
    except OSError as error:
        raise UsageError(f"run_dir={run_dir} cannot be used: {error.strerror}.") from error
    raise UsageError(
        f"run_dir={run_dir} holds {holds}: name a new or empty directory"
        + (", or resume the run by --resume." if holds == "a run already" else ".")
    )


def check_new_file(flag: str, given: str) -> None:
    """Checks, before anything is computed, that a new file can be created at a path.

    Args:
        flag: The name of the flag, for the message.
        given: The path; an empty string means no file.

    Raises:
        UsageError: If the file exists, or its folder does not.
    """
    if not given:
        return
    path = Path(given)
    if path.exists() or path.is_symlink():
        raise UsageError(f"{flag}={given} exists already: name a new file.")
    if not path.parent.is_dir():
        raise UsageError(f"{flag}={given}: there is no folder {path.parent}.")


def name_of_data(dataset: str) -> str:
    """Returns the name of a data set (or its path) in a form fit for a directory's name."""
    return re.sub(r"[^\w.-]+", "_", Path(dataset).stem) or "data"


def _counts(path: Path) -> bool:
    """Whether a path counts as content: not a folder, lock or unfinished file of a killed run."""
    return not (path.is_dir() or path.name == lock.NAME or path.name.startswith(_UNFINISHED))


def _make(path: Path, exist_ok: bool = True) -> None:
    try:
        path.mkdir(parents=True, exist_ok=exist_ok)
    except FileExistsError:
        raise
    except OSError as error:
        raise UsageError(
            f"run_dir={path} cannot be created: {error.strerror}; name another with --run_dir."
        ) from error


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
