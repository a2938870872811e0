"""What `--help` and `--helpfull` of each program show."""

from __future__ import annotations

import dataclasses
import re

import pytest

from l2rw_tf import __main__ as commands
from l2rw_tf.audit import AuditConfig
from l2rw_tf.command_line import help_text
from l2rw_tf.command_line.settings import Settings, setting
from l2rw_tf.comparison.plan import ComparisonConfig
from l2rw_tf.predict import PredictConfig
from l2rw_tf.runs.config import RunConfig

FLAGS = {
    "train": (RunConfig,),
    "predict": (PredictConfig,),
    "audit": (AuditConfig,),
    "compare": (ComparisonConfig, RunConfig),
}
COMMON = {
    "train": "dataset noise_type noise_ratio clean_data corrections network method with_plain "
    "epochs batch_size learning_rate resume run_dir seed",
    "predict": "run_dir output bad_files plain_network",
    "audit": "run_dir threshold expected_noise show write_clean write_labels write_folder "
    "corrections",
    "compare": "methods seeds sweep learning_rates jobs compare_dir",
}


@dataclasses.dataclass(frozen=True)
class Toy(Settings):
    rate: float = setting(
        0.5, "How fast. A fraction.", group="Speed", choices=("0.5", "1"), is_common=True
    )
    loud: bool = setting(False, "Says more.", group="Sound", is_common=True)
    rare: int | None = setting(None, "Nobody needs it.", group="Speed")


@dataclasses.dataclass(frozen=True)
class Other(Settings):
    foreign: str = setting("", "Of another program.", group="Speed", is_common=True)


def shown(capsys, *arguments):
    assert commands.main(arguments) == 0
    printed, complaint = capsys.readouterr()
    assert not complaint
    return printed


def test_the_short_help_has_first_sentences_and_defaults_of_the_programs_own_common_flags():
    assert help_text.short("Does it.\n\nusage: toy\n", Toy, Other).splitlines() == [
        "Does it.",
        "",
        "usage: toy",
        "",
        "  --rate=0.5       How fast. One of 0.5, 1.",
        "  --loud=false     Says more.",
        "  --flagfile=FILE  Reads flags from a file, one per line; # starts a comment. Later flags "
        "win.",
        "",
        "--helpfull shows all 4 flags and more about these.",
    ]


def test_the_full_help_is_grouped():
    lines = help_text.full("usage: toy\n", Toy, Other).splitlines()
    assert lines[:12] == [
        "usage: toy",
        "",
        "Speed:",
        "  --rate=0.5",
        "      How fast. A fraction. One of 0.5, 1.",
        "  --rare=",
        "      Nobody needs it.",
        "  --foreign=",
        "      Of another program.",
        "",
        "Sound:",
        "  --[no]loud (default: false)",
    ]


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_help_fits_one_screen(command, capsys):
    lines = shown(capsys, command, "--help").splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 100
    flags = [found[1] for line in lines if (found := re.match(r"  --(\w+)=", line))]
    assert flags == [*COMMON[command].split(), "flagfile"]
    module = commands.COMMANDS[command][0]
    assert any(line.startswith(f"   e.g. python -m {module} ") for line in lines)
    assert lines[-1].startswith("--helpfull shows all ")


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_helpfull_has_every_flag_and_all_of_its_text(command, capsys):
    printed = shown(capsys, command, "--helpfull")
    assert max(map(len, printed.splitlines())) <= 100
    words = " ".join(printed.split())
    for kind in FLAGS[command]:
        for field in dataclasses.fields(kind):
            assert re.search(rf"^  --(\[no\])?{field.name}(=| \(default)", printed, re.MULTILINE)
            assert field.metadata["help"] in words and field.metadata["help"].endswith(".")
            assert f"\n{field.metadata['group']}:\n" in printed


@pytest.mark.parametrize("flag", ["--help", "--helpfull"])
def test_the_command_names_the_programs(flag, capsys):
    lines = shown(capsys, flag).splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 100
    assert [line.split()[0] for line in lines if line.startswith("  ")] == [*commands.COMMANDS]
    assert "l2rw COMMAND --helpfull" in lines[-1]
