"""The audit: `python -m l2rw_tf.audit --run_dir=DIR` ranks training examples by label quality."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from l2rw_tf import quality
from l2rw_tf.command_line import program, settings
from l2rw_tf.command_line.counting import counted
from l2rw_tf.data import corrections, trusted
from l2rw_tf.data.origins import are_files, cell
from l2rw_tf.errors import RunFailed, UsageError
from l2rw_tf.runs import cleaned, results, tables
from l2rw_tf.runs.cleaned import Reviewed
from l2rw_tf.runs.results import RunResults, percent
from l2rw_tf.runs.run_directory import check_new_file

USAGE = """\
Lists the training labels of a finished run that are probably wrong: how many, of which classes, and
the worst of them. The run's examples.csv has all training examples in this order.

usage: python -m l2rw_tf.audit --run_dir=DIR [--flag=value ...]
   e.g. python -m l2rw_tf.audit --run_dir=runs/digits_noisy-seed0
        python -m l2rw_tf.audit --run_dir=runs/digits_noisy-seed0 --write_clean=keep.txt
"""

_setting = functools.partial(settings.setting, group="Audit", is_common=True)


@dataclasses.dataclass(frozen=True)
class AuditConfig(settings.Settings):
    """The run to audit, which labels are suspected, and what to write."""

    run_dir: str = _setting("", "The directory of a finished run.")
    threshold: float | None = _setting(
        None,
        f"Suspects labels with a quality below this value. Default: {quality.SUSPECT_BELOW:g}.",
        at_least=0,
        at_most=1,
    )
    expected_noise: float | None = _setting(
        None,
        "Instead of --threshold: suspects this fraction of the labels, the worst ones.",
        at_least=0,
        at_most=1,
    )
    show: int = _setting(20, "Number of worst labels to show.", at_least=0)
    write_clean: str = _setting(
        "",
        "Writes a new file with the examples that are not suspected, one per line: file names for "
        "a folder of images, otherwise ids.",
    )
    write_labels: str = _setting(
        "",
        "Writes a new CSV file of all training examples, the most suspicious first: origin, "
        "content_hash, given_label, label_quality, suggested_label, decision, label. Fill in the "
        "decisions to use it as --corrections.",
    )
    write_folder: str = _setting(
        "",
        "For a folder of images: writes a new folder of copies CLASS/IMAGE with the images that "
        "are not suspected, and those that were confirmed or corrected, under their right label. "
        "Unreviewed suspects and unusable images are left out.",
    )
    corrections: str = _setting(
        "",
        "For --write_labels and --write_folder: the review decisions, as downloaded from "
        "report.html. Default: the corrections that the run was trained with.",
    )

    def check_together(self) -> None:
        """Checks combinations of settings."""
        if not self.run_dir:
            raise UsageError("run_dir is empty: name the directory of a run.")
        if self.corrections and not (self.write_labels or self.write_folder):
            raise UsageError(
                f"corrections={self.corrections} needs write_labels or write_folder: give one."
            )
        if self.threshold is not None and self.expected_noise is not None:
            raise UsageError(
                f"threshold={self.threshold:g} and expected_noise={self.expected_noise:g} were "
                "both given: give only one of them."
            )

    @property
    def limit(self) -> float:
        """The quality below which labels are suspected, unless their fraction is given."""
        return quality.SUSPECT_BELOW if self.threshold is None else self.threshold


def main(arguments: Sequence[str]) -> int:
    """Runs the program.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit code: 0 after an audit or --help, 1 if a file cannot be written, 2 for flags or a
        run directory that cannot be used, 3 after SIGINT or SIGTERM.
    """
    return program.run(
        arguments,
        _audit,
        usage=USAGE,
        flags=(AuditConfig,),
        when_stopped="nothing was changed.",
    )


def _audit(arguments: Sequence[str]) -> None:
    (config,) = settings.from_arguments(arguments, AuditConfig)
    run = results.read(config.run_dir)
    examples = tables.read_examples(Path(config.run_dir), len(run.class_names))
    ranking = quality.ranked(quality.with_quality(examples, run.is_ranked_by_plain))
    suspected = quality.suspects(ranking, config.limit, config.expected_noise)
    for flag in ("write_clean", "write_labels"):
        check_new_file(flag, getattr(config, flag))
    reviewed = None
    if config.write_labels or config.write_folder:
        reviewed = _reviewed(config, run, ranking, suspected)
    # Files first: a reader of the list, such as head, may end the program.
    written = []
    if config.write_clean:
        written.append(_write_kept(Path(config.write_clean), ranking, ~suspected))
    if config.write_labels:
        written.append(cleaned.write_labels(Path(config.write_labels), reviewed))
    if config.write_folder:
        written.append(cleaned.write_folder(Path(config.write_folder), reviewed, run.dataset))
    print("\n".join(_lines(config, run, ranking, suspected)))
    for sentence in written:
        print(f"\n{sentence}")


def _reviewed(
    config: AuditConfig, run: RunResults, ranking: quality.Table, suspected: np.ndarray
) -> Reviewed:
    """Returns the examples with their review decisions, checked before anything is written."""
    if config.write_folder and run.noise_type != "none":
        raise UsageError(
            f"write_folder={config.write_folder}: the run itself corrupted the labels "
            f"(noise_type={run.noise_type}); the folder {run.dataset} does not have these errors."
        )
    own = Path(config.run_dir) / corrections.NAME
    given = corrections.read(str(own)) if own.exists() else []
    rows = corrections.read(config.corrections) if config.corrections else given
    source = f"corrections={config.corrections or own}"
    copy = Path(config.run_dir) / trusted.COPIES[0]
    listed = trusted.read_list(str(copy)) if copy.exists() else []
    names = [name for _, name in listed]
    reviewed = Reviewed.of(run.class_names, ranking, suspected, given, rows, source, names)
    if config.write_folder:
        cleaned.check_folder(Path(config.write_folder), reviewed, run.dataset)
    return reviewed


def _lines(
    config: AuditConfig, run: RunResults, ranking: quality.Table, suspected: np.ndarray
) -> list[str]:
    number = len(suspected)
    if config.expected_noise is None:
        cut = f"with a quality below {config.limit:g} that the network would change"
    else:
        cut = "with the lowest quality"
    lines = [
        f"{config.run_dir}: {counted(number, 'training example')}, trained with {run.method}",
        "label quality, 0 (suspect) to 1 (good): "
        f"{quality.basis_of_score(ranking, run.is_ranked_by_plain)}",
        f"suspected: {counted(suspected.sum(), 'label')} ({percent(suspected.mean())}), those "
        f"{cut}",
        "",
        *_by_class(run.class_names, ranking["given_label"], suspected),
    ]
    if config.show:
        lines += ["", *_worst(run.class_names, ranking, min(config.show, number))]
    if found := quality.detection(ranking):
        wrong = quality.wrong_labels(ranking)
        precision = wrong[suspected].mean() if suspected.any() else 0
        lines += [
            "",
            f"The true labels are known: {wrong.sum():,} labels ({percent(wrong.mean())}) are "
            f"wrong. Of the suspected labels, {percent(precision)} are wrong; of the wrong labels, "
            f"{percent(suspected[wrong].mean())} are suspected.",
            f"AUROC {found.auroc:.4f}, average precision {found.average_precision:.4f}, precision "
            f"at the true number {found.precision_at_true_number:.4f}",
        ]
    return lines


def _by_class(
    class_names: Sequence[str], given_labels: np.ndarray, suspected: np.ndarray
) -> list[str]:
    width = max(len("given label"), *map(len, class_names))
    lines = [f"{'given label':{width}}  {'examples':>9}  {'suspected':>9}"]
    for label, name in enumerate(class_names):
        of_class = given_labels == label
        lines.append(f"{name:{width}}  {of_class.sum():9,}  {suspected[of_class].sum():9,}")
    return lines


def _worst(class_names: Sequence[str], ranking: quality.Table, number: int) -> list[str]:
    width = max(len("suggested"), *map(len, class_names))
    ids = [str(one) for one in ranking["id"][:number]]
    origins = _origins(ranking, slice(number)) or ids
    # Origins such as "index 7" say no more than the id.
    name, names = (
        ("id", ids) if not number or origins[0].startswith("index ") else ("example", origins)
    )
    names_width = max([9, *map(len, names)])
    lines = [f"{name:>{names_width}}  {'given':{width}}  {'suggested':{width}}  quality"]
    lines += [
        f"{names[row]:>{names_width}}  {class_names[ranking['given_label'][row]]:{width}}  "
        f"{class_names[ranking['suggested_label'][row]]:{width}}  "
        f"{ranking['label_quality'][row]:7.4f}"
        for row in range(number)
    ]
    return [*lines, "all examples in this order: examples.csv of the run"]


def _origins(ranking: quality.Table, which: slice | np.ndarray) -> list[str]:
    """Returns the origins of some examples; an empty list for runs without origins."""
    return [cell(one) for one in ranking["origin"][which].tolist()] if "origin" in ranking else []


def _write_kept(path: Path, ranking: quality.Table, kept: np.ndarray) -> str:
    in_order = np.flatnonzero(kept)[np.argsort(ranking["id"][kept])]
    lines, what = _origins(ranking, in_order), "file"
    if not are_files(lines):
        lines, what = [str(one) for one in ranking["id"][in_order]], "id"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.writelines(f"{one}\n" for one in lines)
    except OSError as error:
        raise RunFailed(f"write_clean={path} cannot be written: {error.strerror}.") from error
    return f"{counted(len(lines), what)} to keep: {path}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
