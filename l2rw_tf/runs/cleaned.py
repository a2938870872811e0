"""What comes of a run's data set once its suspects are known: a table of labels, a folder."""

from __future__ import annotations

import collections
import csv
import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from l2rw_tf import quality
from l2rw_tf.command_line.counting import counted
from l2rw_tf.data import corrections
from l2rw_tf.data.corrections import OTHER, RIGHT, UNUSABLE, Correction
from l2rw_tf.data.origins import are_files, cell
from l2rw_tf.errors import RunFailed, UsageError

# A corrections.csv with more columns: filled in, it is one.
LABELS = (
    "origin",
    "content_hash",
    "given_label",
    "label_quality",
    "suggested_label",
    "decision",
    "label",
)


@dataclasses.dataclass(frozen=True)
class Reviewed:
    """The training examples of a run, with what was said of them.

    Attributes:
        class_names: By label.
        ranking: examples.csv by column, the most suspicious label first.
        suspected: Which of these labels are suspected, bool (n,).
        rows: What was said of labels, also of examples that were in no training any more.
        listed: Origins of training examples that the run was told are right.
        decided: Decision and class by origin, of `rows` without the undecided ones.
    """

    class_names: Sequence[str]
    ranking: quality.Table
    suspected: np.ndarray
    rows: Sequence[Correction]
    decided: Mapping[str, tuple[str, str]]
    listed: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        class_names: Sequence[str],
        ranking: quality.Table,
        suspected: np.ndarray,
        own: Sequence[Correction],
        rows: Sequence[Correction],
        source: str,
        listed: Sequence[str] = (),
    ) -> Reviewed:
        """Checks what was said against the examples of a run.

        Args:
            class_names: By label.
            ranking: examples.csv by column.
            suspected: Which of these labels are suspected.
            own: The corrections that the run was given, which are right.
            rows: What is said now, mostly with those in it.
            source: Where `rows` come from, for the message.
            listed: Origins of training examples that the run was told are right.

        Raises:
            UsageError: Lists every row that does not fit.
        """
        known = {row.origin: (row.content_hash, row.given_label or row.label) for row in own}
        known |= {
            origin: (content, class_names[label])
            for origin, content, label in zip(
                _origins(ranking),
                ranking.get("content_hash", np.full(len(suspected), "")).tolist(),
                ranking["given_label"].tolist(),
                strict=True,
            )
        }
        decided = corrections.decided(rows, class_names, known, source)
        return cls(class_names, ranking, suspected, rows, decided, listed)


def _origins(ranking: quality.Table) -> list[str]:
    if "origin" in ranking:
        return ranking["origin"].tolist()
    return [f"index {one}" for one in ranking["id"]]


def write_labels(path: Path, reviewed: Reviewed) -> str:
    """Writes a table of the training examples that is safe to open in a spreadsheet.

    The most suspicious labels come first; examples that were decided on before the run, and have no
    label quality, last.

    Args:
        path: A new file.
        reviewed: The examples.

    Returns:
        What was written, in words.

    Raises:
        RunFailed: If it cannot be written.
    """
    ranking, names = reviewed.ranking, reviewed.class_names
    said = {row.origin: row for row in reviewed.rows}
    origins = _origins(ranking)
    lines = []
    for place, origin in enumerate(origins):
        row = said.pop(origin, None)
        given = names[ranking["given_label"][place]]
        lines.append(
            (
                origin,
                ranking["content_hash"][place] if "content_hash" in ranking else "",
                given,
                f"{ranking['label_quality'][place]:.4f}",
                names[ranking["suggested_label"][place]],
                row.decision if row else "",
                reviewed.decided.get(origin, ("", ""))[1],
            )
        )
    lines += [
        (row.origin, row.content_hash, row.given_label, "", "", row.decision, row.label)
        for row in said.values()
    ]
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(LABELS)
            writer.writerows([cell(str(one)) for one in line] for line in lines)
    except OSError as error:
        raise RunFailed(f"write_labels={path} cannot be written: {error.strerror}.") from error
    return f"{counted(len(lines), 'label')}: {path}"


def write_folder(path: Path, reviewed: Reviewed, dataset: str) -> str:
    """Copies the images with good labels to PATH/CLASS/IMAGE, corrected ones to their right class.

    Args:
        path: A folder that `check_folder` lets through.
        reviewed: The examples of a folder of images.
        dataset: The folder.

    Returns:
        What was written, in words.

    Raises:
        RunFailed: If a file cannot be read or written; nothing is left of the folder then.
    """
    source = Path(os.path.expanduser(dataset))
    depth = _depth(reviewed)
    kept, numbers = _kept(reviewed)
    kept |= {
        f"./{one}": PurePosixPath(one).parts[depth]
        for one in (listed.removeprefix("./") for listed in reviewed.listed)
        # Those listed by their ids cannot be told from here.
        if (source / one).is_file() and f"./{one}" not in reviewed.decided
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=path.parent))
    # mkdtemp's folders are for their owner alone.
    unfinished.chmod(0o777 & ~_umask())
    try:
        for origin, target in _targets(kept, depth):
            (unfinished / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / origin, unfinished / target)
        os.replace(unfinished, path)
    except OSError as error:
        file = error.filename or path
        raise RunFailed(f"write_folder={path}: {file}: {error.strerror}.") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return (
        f"{counted(len(kept), 'image')} of {dataset}, {numbers[OTHER]:,} of them under a corrected "
        f"label: {path}\n"
        f"left out: {counted(numbers['suspected'], 'suspected label')} that nobody decided on, "
        f"{counted(numbers[UNUSABLE], 'unusable image')}; and all that were held out of the "
        "training (validation and test data), whose labels were not judged"
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_folder(path: Path, reviewed: Reviewed, dataset: str) -> None:
    """Checks what `write_folder` is given, before anything is written.

    Args:
        path: A new or empty folder outside of the data set.
        reviewed: The examples of a folder of images.
        dataset: The folder.

    Raises:
        UsageError: If this is no folder of images, or the path cannot be used.
    """
    source = Path(os.path.expanduser(dataset))
    origins = _origins(reviewed.ranking)
    if not are_files(origins):
        raise UsageError(
            f"write_folder={path} is for runs on a folder of images, and this one was trained on "
            f"{source}; write_labels writes a table."
        )
    if not source.is_dir():
        raise UsageError(
            f"write_folder={path}: the folder {source} that the run was trained on is not here; "
            "start from the directory where the run was made."
        )
    every = [*origins, *reviewed.decided, *reviewed.listed]
    outside = [one for one in every if ".." in PurePosixPath(one).parts or one.startswith("/")]
    if outside:
        raise UsageError(f"write_folder={path}: {outside[0]} leads out of {source}.")
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise UsageError(f"write_folder={path} exists already: name a new or empty folder.")
    if path.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"write_folder={path} lies in {source}: name a folder outside of it.")


def _kept(reviewed: Reviewed) -> tuple[dict[str, str], collections.Counter[str]]:
    """Returns the class of each image to copy by origin, and how many there are of each kind."""
    kept, numbers = {}, collections.Counter()
    labels = reviewed.ranking["given_label"].tolist()
    rows = zip(_origins(reviewed.ranking), labels, reviewed.suspected.tolist(), strict=True)
    for origin, label, suspected in rows:
        if origin in reviewed.decided:
            continue
        if suspected:
            numbers["suspected"] += 1
        else:
            kept[origin] = reviewed.class_names[label]
    for origin, (decision, name) in reviewed.decided.items():
        numbers[decision] += 1
        if decision in (RIGHT, OTHER):
            kept[origin] = name
    return kept, numbers


def _depth(reviewed: Reviewed) -> int:
    """How many folders there are above those of the classes: FOLDER/CLASS, FOLDER/train/CLASS."""
    given = [reviewed.class_names[label] for label in reviewed.ranking["given_label"]]
    pairs = zip(_origins(reviewed.ranking), given, strict=True)
    return 0 if all(PurePosixPath(origin).parts[0] == name for origin, name in pairs) else 1


def _targets(kept: Mapping[str, str], depth: int) -> Iterator[tuple[str, Path]]:
    """Gives origin and target of each image; those that move to a class give way to its own."""
    taken = set()
    moved_last = sorted(kept, key=lambda one: PurePosixPath(one).parts[depth] != kept[one])
    for origin in moved_last:
        inside = PurePosixPath(*PurePosixPath(origin).parts[depth + 1 :])
        target, number = Path(kept[origin], inside), 1
        # Some file systems take A.png and a.png for one name.
        while str(target).casefold() in taken:
            number += 1
            name = f"{inside.stem}-{number}{inside.suffix}"
            target = Path(kept[origin], inside.with_name(name))
        taken.add(str(target).casefold())
        yield origin, target
