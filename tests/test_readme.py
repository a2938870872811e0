"""Every command and every snippet of README.md runs, and its links and names lead somewhere."""

from __future__ import annotations

import inspect
import re

import pytest

import l2rw_tf
from l2rw_tf.audit import AuditConfig
from l2rw_tf.comparison.plan import ComparisonConfig
from l2rw_tf.predict import PredictConfig
from l2rw_tf.runs.config import RunConfig
from tests import documentation

README = documentation.ROOT / "README.md"
TEXT = README.read_text("utf-8")
# The first words of a command that is not run here, and why.
NOT_RUN = {
    ("pip", "install"): "needs the network; `make compat` installs the wheel and trains with it",
}


@pytest.mark.slow
def test_commands_run_in_their_order(tmp_path, monkeypatch):
    documentation.go_to_data(tmp_path, monkeypatch)
    commands = documentation.commands(README)
    done = [words for words in commands if tuple(words[:2]) not in NOT_RUN]
    assert len(done) == 7 and len(commands) == 8
    for words in done:
        assert documentation.run(words, tmp_path) == 0, words
    assert "with_plain" in (tmp_path / "runs" / "photos" / "config.cfg").read_text("utf-8")
    assert (tmp_path / "labels.csv").exists() and (tmp_path / "predictions.csv").exists()


@pytest.mark.slow
def test_the_snippet_learns(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = documentation.run_snippets(README)
    assert names["model"].evaluate(names["x_test"], names["y_test"], verbose=0)[1] > 0.5
    assert (tmp_path / "network.keras").exists()


def test_no_block_is_left_out():
    assert {one.language for one in documentation.blocks(README)} == {"bash", "python"}


def test_the_options_exist():
    rows = re.findall(r"^\| (?:`(\w+)`)? ?\| (?:`--(\w+)`|always on) \| (.*?) \|", TEXT, re.M)
    assert len(rows) == 10
    arguments = {
        name: argument.default
        for method in (l2rw_tf.ReweightingModel.__init__, l2rw_tf.ReweightingModel.fit)
        for name, argument in inspect.signature(method).parameters.items()
    }
    flags = {name: field.default for name, field in RunConfig.__dataclass_fields__.items()}
    for argument, flag, default in rows:
        assert not argument or argument in arguments
        assert not flag or flag in flags
        if default.startswith("`") and argument != "clean_data":
            known = {str(known.get(name)) for known, name in ((arguments, argument), (flags, flag))}
            assert default.strip("`") in known | (
                {"all"} if argument == "meta_variables" else set()
            )


def test_flags_links_and_targets_exist():
    kinds = (RunConfig, ComparisonConfig, AuditConfig, PredictConfig)
    flags = {"help", "helpfull", "flagfile"}.union(*(kind.__dataclass_fields__ for kind in kinds))
    assert set(re.findall(r"--(\w+)", TEXT)) - {"l2rw"} <= flags
    for link in re.findall(r"\]\(([^)#]+)", TEXT):
        assert link.startswith("https://") or (README.parent / link).exists(), link
    makefile = (README.parent / "Makefile").read_text("utf-8")
    for target in re.findall(r"`make ([\w-]+)", TEXT):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_the_demo_is_the_flagfile_of_the_first_command():
    makefile = (README.parent / "Makefile").read_text("utf-8")
    assert "-m l2rw_tf.main --flagfile=configs/digits_noisy.cfg $(DEMO_FLAGS)" in makefile
    first = next(words for words in documentation.commands(README) if words[0] == "l2rw")
    assert "--flagfile=configs/digits_noisy.cfg" in first


def test_lines_are_short():
    assert [line for line in TEXT.splitlines() if len(line) > 100] == []
