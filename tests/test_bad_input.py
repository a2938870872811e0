"""Flags and data that nobody should give: each ends with one line, never with a traceback."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import kill_test
from l2rw_tf import main
from l2rw_tf.runs import run
from l2rw_tf.runs.config import RunConfig

SECONDS = 60

# A process's arguments cannot hold a NUL, nor characters that no encoding has.
anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
odd_texts = anything | st.sampled_from(
    [
        "",
        " ",
        "é è",
        "日本語",
        "\u202eabc",
        "👩‍🔬",
        "١٢",
        "a\nb",
        "\ufeff",
        "../..",
        "-",
        "--",
        "%s{}",
    ]
)
odd_numbers = st.one_of(
    st.integers().map(str),
    st.floats().map(repr),
    st.sampled_from(["1e999", "-0", "0x10", "1_000", "1,5", "9" * 400, "+3", " 3 ", "1e-320", "½"]),
)
# Files and directories that may be made are named below; a network's depth may be too large to
# build within a minute.
_NOT_FREE = {
    "data_dir",
    "run_dir",
    "deterministic",
    "network",
    "image_size",
    "dataset",
    "fallback_dataset",
}
FREE = [field for field in dataclasses.fields(RunConfig) if field.name not in _NOT_FREE]


@st.composite
def flags(draw):
    """Arguments of which most cannot be used."""
    arguments = []
    for field in draw(st.lists(st.sampled_from(FREE), max_size=4)):
        values = [odd_texts, odd_numbers]
        if field.metadata["choices"]:
            values.append(st.sampled_from(field.metadata["choices"]))
        arguments.append(f"--{field.name}={draw(st.one_of(values))}")
    networks = ["lenet", "resnet7", "resnet-8", "wrn10", "wrn_10", "mlp ", "MLP", "vgg16"]
    names = st.one_of(
        st.tuples(st.just("network"), st.sampled_from(networks)),
        st.tuples(st.just("image_size"), st.sampled_from(["0", "-3", "1", "8", "1e3", "x"])),
        st.tuples(st.just("run_dir"), st.sampled_from(["file", "full", "n" * 300, "\x7f", "é/è"])),
        st.tuples(st.just("dataset"), st.sampled_from(["full", "no.csv", "no.npz", "file", "é"])),
        st.tuples(st.just("data_dir"), st.sampled_from(["file", "file/é", "é"])),
        st.tuples(st.just("flagfile"), st.sampled_from(["file", "full", "no.cfg", "", "é"])),
    )
    arguments += [f"--{name}={value}" for name, value in draw(st.lists(names, max_size=2))]
    arguments += draw(st.lists(anything.map(lambda text: f"--{text}") | anything, max_size=1))
    return draw(st.permutations(arguments))


cells = st.one_of(st.sampled_from(["1", "2.5", "-3e2", "0", "a", "b"]), odd_texts, odd_numbers).map(
    lambda text: text.replace("\n", " ")
)


@st.composite
def damaged(draw, content):
    """The content of a file: whole, cut, or with another byte in it."""
    kind = draw(st.sampled_from(["whole", "whole", "cut", "other byte"]))
    if kind == "whole" or not content:
        return content
    place = draw(st.integers(0, len(content) - 1))
    rest = b"" if kind == "cut" else bytes([draw(st.integers(0, 255))]) + content[place + 1 :]
    return content[:place] + rest


@st.composite
def csv_files(draw):
    """A table, with or without labels, in UTF-8 or not."""
    columns = draw(st.lists(st.sampled_from(["x", "y", "é"]) | odd_texts, max_size=2))
    columns = draw(st.sampled_from([[], ["label"]])) + columns
    width = st.sampled_from([len(columns)] * 9 + [1, 5])
    a_row = width.flatmap(lambda size: st.lists(cells, min_size=size, max_size=size))
    rows = [columns, *draw(st.lists(a_row, max_size=12))]
    separator = draw(st.sampled_from(",;\t "))
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(separator.join(row) for row in rows)
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))
    return "table.csv", draw(damaged(content))


@st.composite
def npz_files(draw):
    """An archive of arrays of any type and shape."""
    names = st.sampled_from(["x", "y", "label", "x_train", "y_train", "x_test", "y_test", "é"])
    dtypes = st.sampled_from(
        [np.float32, np.uint8, np.int64, np.complex64, "U3", "S2", bool, "M8[s]"]
    )
    shapes = st.lists(st.integers(0, 6), max_size=4)
    arrays = {}
    for name in draw(st.lists(names, max_size=4)):
        shape = draw(shapes)
        array = np.arange(int(np.prod(shape))).reshape(shape) % draw(st.integers(1, 9))
        arrays[name] = array.astype(draw(dtypes))
        if draw(st.booleans()) and arrays[name].dtype.kind == "f" and arrays[name].size:
            arrays[name].flat[0] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 3e38]))
    file = io.BytesIO()
    np.savez(file, **arrays)
    return "arrays.npz", draw(damaged(file.getvalue()))


@st.composite
def data(draw):
    """Arguments with a file of data, which most often cannot be used."""
    name, content = draw(csv_files() | npz_files())
    arguments = [f"--dataset={name}", "--clean_per_class=1"]
    if draw(st.booleans()):
        arguments.append(f"--label_column={draw(odd_texts)}")
    return arguments, name, content


def _check(code, complaint):
    assert code in (0, 1, 2)
    assert (complaint == "") == (code == 0)
    if code:
        assert complaint.startswith("l2rw: ") and complaint.endswith("\n")
        assert len(complaint.splitlines()) == 1, complaint


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with a table, a file of nothing useful and a full directory in it."""
    directory = tmp_path_factory.mktemp("place")
    (directory / "file").write_bytes(b"\xff\xfe\x00--epochs=3")
    (directory / "full").mkdir()
    (directory / "full" / "thesis.tex").touch()
    rows = [f"{number % 7},{number % 5},{number % 3}" for number in range(120)]
    (directory / "good.csv").write_text("\n".join(["a,b,label", *rows]), encoding="utf-8")
    return directory


class _Untrained(Exception):
    """Settings and data can be used."""


@pytest.fixture
def outcome(place, monkeypatch, capsys):
    """Runs the program up to the beginning of training."""

    def no_training(*arguments):
        raise _Untrained

    def of(arguments):
        capsys.readouterr()
        try:
            code = main.main(["--dataset=good.csv", *arguments, "--deterministic=false"])
        except _Untrained:
            return 0, ""
        return code, capsys.readouterr().err

    monkeypatch.chdir(place)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setattr(run.RunDirectory, "create", no_training)
    return of


def _examples(number):
    return settings(
        max_examples=number,
        deadline=SECONDS * 1000,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@given(arguments=flags())
@_examples(150)
def test_flags(outcome, arguments):
    _check(*outcome(arguments))


@given(case=data())
@_examples(150)
def test_data(outcome, place, case):
    arguments, name, content = case
    (place / name).write_bytes(content)
    _check(*outcome(arguments))


def _process(arguments, place):
    ended = subprocess.run(
        [sys.executable, "-m", "l2rw_tf", "train", *arguments],
        cwd=place,
        env=kill_test.environment(),
        capture_output=True,
        timeout=SECONDS,
    )
    _check(ended.returncode, ended.stderr.decode(errors="replace"))


@pytest.mark.process
@given(arguments=flags())
@_examples(3)
def test_flags_of_a_process(place, arguments):
    # No network of these names suits a table: whatever else is right, nothing is trained.
    _process(["--dataset=good.csv", "--network=resnet9", *arguments], place)


@pytest.mark.process
@given(case=data())
@_examples(2)
def test_data_of_a_process(place, case):
    arguments, name, content = case
    (place / name).write_bytes(content)
    _process([*arguments, "--max_steps=1", "--progress=none"], place)
