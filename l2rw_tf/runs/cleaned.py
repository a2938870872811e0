"""Writes the cleaned data set of a run: a table of labels, or a folder of images."""

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

# The columns of corrections.csv and more, so that the filled-in table serves as corrections.csv.
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
    """The training examples of a run and the decisions of its review.

    Attributes:
        class_names: Names of the classes, indexed by label.
        ranking: The columns of examples.csv, the most suspicious label first.
        suspected: Whether each of these labels is suspected, bool (n,).
        rows: All review decisions, also on examples that were removed from the training data.
        decided: (decision, class name) by origin, of `rows` without the undecided ones.
        listed: Origins of training examples that the user listed as trusted.
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
        """Checks review decisions against the examples of a run.

        Args:
            class_names: Names of the classes, indexed by label.
            ranking: The columns of examples.csv.
            suspected: Whether each of these labels is suspected.
            own: The corrections that the run was trained with, which are valid.
            rows: The review decisions to check; they usually include `own`.
            source: Where `rows` come from, for the error message.
            listed: Origins of training examples that the user listed as trusted.

        Raises:
            UsageError: If a row does not fit; the message lists all such rows.
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
    """Writes a CSV table of the training labels that is safe to open in a spreadsheet.

    The most suspicious labels come first. Examples that were decided on before the run have no
    label quality and come last.

    Args:
        path: A new file.
        reviewed: The examples and their decisions.

    Returns:
        A line that says what was written.

    Raises:
        RunFailed: If the file cannot be written.
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
    """Copies images to PATH/CLASS/IMAGE: the unsuspected and the reviewed, by corrected label.

    Args:
        path: A folder that passed `check_folder`.
        reviewed: The examples of a folder of images and their decisions.
        dataset: The folder of images that the run was trained on.

    Returns:
        Lines that say what was written and what was left out.

    Raises:
        RunFailed: If a file cannot be read or written; the new folder is removed in this case.
    """
    source = Path(os.path.expanduser(dataset))
    depth = _depth(reviewed)
    kept, numbers = _kept(reviewed)
    kept |= {
        f"./{one}": PurePosixPath(one).parts[depth]
        for one in (listed.removeprefix("./") for listed in reviewed.listed)
        # Only file names are resolved: examples listed by id cannot be found here.
        if (source / one).is_file() and f"./{one}" not in reviewed.decided
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=path.parent))
    # mkdtemp makes folders that only their owner can read.
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
        f"left out: {counted(numbers['suspected'], 'suspected label')} not reviewed yet, "
        f"{counted(numbers[UNUSABLE], 'unusable image')}; and all validation and test images, "
        "whose labels were not checked"
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_folder(path: Path, reviewed: Reviewed, dataset: str) -> None:
    """Checks the arguments of `write_folder` before anything is written.

    Args:
        path: A new or empty folder outside of the data set.
        reviewed: The examples of a folder of images and their decisions.
        dataset: The folder of images that the run was trained on.

    Raises:
        UsageError: If the data set is not a folder of images, or the path cannot be used.
    """
    source = Path(os.path.expanduser(dataset))
    origins = _origins(reviewed.ranking)
    if not are_files(origins):
        raise UsageError(
            f"write_folder={path} is for runs on a folder of images, but this one was trained on "
            f"{source}; use write_labels to write a table."
        )
    if not source.is_dir():
        raise UsageError(
            f"write_folder={path}: the run was trained on the folder {source}, which is not here; "
            "start this program in the directory where the run was started."
        )
    every = [*origins, *reviewed.decided, *reviewed.listed]
    outside = [one for one in every if ".." in PurePosixPath(one).parts or one.startswith("/")]
    if outside:
        raise UsageError(f"write_folder={path}: {outside[0]} leads out of {source}.")
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise UsageError(f"write_folder={path} exists already: name a new or empty folder.")
    if path.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"write_folder={path} is inside {source}: name a folder outside of it.")


def _kept(reviewed: Reviewed) -> tuple[dict[str, str], collections.Counter[str]]:
    """Returns the class of each image to copy, by origin, and counts of decisions and suspects."""
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
    """Returns the depth of the class folders: 0 for FOLDER/CLASS, 1 for FOLDER/train/CLASS."""
    given = [reviewed.class_names[label] for label in reviewed.ranking["given_label"]]
    pairs = zip(_origins(reviewed.ranking), given, strict=True)
    return 0 if all(PurePosixPath(origin).parts[0] == name for origin, name in pairs) else 1


def _targets(kept: Mapping[str, str], depth: int) -> Iterator[tuple[str, Path]]:
    """Yields (origin, target) of each image; a moved image is renamed if its name is taken."""
    taken = set()
    moved_last = sorted(kept, key=lambda one: PurePosixPath(one).parts[depth] != kept[one])
    for origin in moved_last:
        inside = PurePosixPath(*PurePosixPath(origin).parts[depth + 1 :])
        target, number = Path(kept[origin], inside), 1
        # Some file systems do not distinguish A.png from a.png.
        while str(target).casefold() in taken:
            number += 1
            name = f"{inside.stem}-{number}{inside.suffix}"
            target = Path(kept[origin], inside.with_name(name))
        taken.add(str(target).casefold())
        yield origin, target
