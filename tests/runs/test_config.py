from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l2rw_tf.command_line.settings import differences, from_arguments
from l2rw_tf.comparison.plan import ComparisonConfig, plan
from l2rw_tf.data.settings import DataSettings
from l2rw_tf.errors import UsageError
from l2rw_tf.networks.settings import NetworkSettings
from l2rw_tf.runs import config
from l2rw_tf.runs.config import RunConfig

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.cfg"))

texts = st.text(max_size=20).filter(lambda text: text == text.strip() and text.isprintable())
configs = st.builds(
    RunConfig,
    dataset=texts.filter(bool),
    data_dir=texts,
    noise_type=st.sampled_from(["uniform", "background", "pair"]),
    noise_ratio=st.floats(0, 1),
    num_clean=st.none() | st.integers(1, 10**6),
    dropout=st.none() | st.floats(0, 1, exclude_max=True),
    with_plain=st.booleans(),
    balanced_clean=st.booleans(),
    learning_rate=st.floats(0, 1e3, exclude_min=True),
    clipnorm=st.none() | st.floats(0, exclude_min=True, allow_infinity=False),
    lr_decay_epochs=st.lists(st.floats(0.01, 1e3), unique=True, max_size=4).map(
        lambda epochs: tuple(sorted(epochs))
    ),
    classes=st.lists(st.sampled_from(["4", "9", "T-shirt/top", "é è"]), max_size=3).map(tuple),
    image_size=st.none() | st.integers(1, 512),
    seed=st.integers(0, 2**31 - 1),
)


@given(settings_=configs)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_flag_lines_give_the_config_again(settings_):
    assert config.from_arguments(settings_.flag_lines()) == settings_


@given(settings_=configs)
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
def test_flag_lines_survive_a_flagfile(settings_, tmp_path_factory):
    path = tmp_path_factory.mktemp("flagfile") / "config.cfg"
    path.write_text("# a comment\n\n" + "\n".join(settings_.flag_lines()) + "\n", encoding="utf-8")
    assert config.from_arguments([f"--flagfile={path}"]) == settings_


def test_flag_lines_leave_out_the_run_directory():
    assert not any("run_dir" in line for line in RunConfig(run_dir="somewhere").flag_lines())


def test_no_arguments_give_the_defaults():
    assert config.from_arguments([]) == RunConfig()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_committed_configs_parse_and_open_with_a_comment(path):
    comparison, base = from_arguments([f"--flagfile={path}"], ComparisonConfig, RunConfig)
    assert plan(comparison, base).runs and base.name == path.stem
    text = path.read_text(encoding="utf-8")
    comment = text[: text.index("\n\n")]
    program = "compare" if "--methods=" in text else "main"
    assert f"#   python -m l2rw_tf.{program} --flagfile=configs/{path.name}" in comment
    assert all(line.startswith("# ") and len(line) <= 100 for line in comment.splitlines())


def test_a_later_flag_wins_over_the_flagfile(tmp_path):
    path = tmp_path / "a.cfg"
    path.write_text("--epochs=7\n--clean_per_class=5\n", encoding="utf-8")
    settings_ = config.from_arguments(
        [f"--flagfile={path}", "--epochs", "9", "--clean_per_class=", "--num_clean=30"]
    )
    assert (settings_.epochs, settings_.clean_per_class, settings_.num_clean) == (9, None, 30)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--epoch=3"], ["--epoch is not a flag", "--epochs"]),
        (["--zzzz"], ["--zzzz is not a flag", "--helpfull"]),
        (["--epochs=many"], ["--epochs=many", "whole number"]),
        (["--epochs=1.5"], ["--epochs=1.5", "whole number"]),
        (["--epochs="], ["--epochs=", "whole number"]),
        (["--epochs"], ["--epochs"]),
        (["--epochs=0"], ["epochs", "at least 1", "got 0"]),
        (["--epochs=" + "9" * 30], ["epochs", "at most", "9" * 30]),
        (["--epochs=" + "9" * 5000], ["--epochs=", "whole number"]),
        (["--learning_rate=fast"], ["--learning_rate=fast", "a number"]),
        (["--learning_rate=nan"], ["learning_rate", "above 0", "nan"]),
        (["--learning_rate=inf"], ["learning_rate", "above 0", "inf"]),
        (["--noise_type=pair", "--noise_ratio=1.5"], ["noise_ratio", "between 0 and 1", "1.5"]),
        (["--noise_ratio=0.4"], ["noise_ratio=0.4", "noise_type", "uniform"]),
        (["--momentum=1"], ["momentum", "below 1", "1.0"]),
        (["--seed=-1"], ["seed", "at least 0", "-1"]),
        (["--method=l2r"], ["method", "plain", "'l2r'", "did you mean l2rw?"]),
        (["--with_plain=maybe"], ["--with_plain=maybe", "true or false"]),
        (["--nowith_plain=false"], ["--nowith_plain takes no value", "--with_plain=false"]),
        (["--with_plain", "false"], ["'false' is not a flag", "--name=value", "--helpfull"]),
        (["--lr_decay_epochs=1,x"], ["--lr_decay_epochs=1,x", "commas"]),
        (["--lr_decay_epochs=9,3"], ["lr_decay_epochs", "increase", "9.0,3.0"]),
        (["--lr_decay_epochs=3,3"], ["lr_decay_epochs", "increase"]),
        (["--lr_decay_epochs=-3"], ["lr_decay_epochs", "above 0", "-3"]),
        (
            ["--early_stopping", "--validation_fraction=0"],
            ["early_stopping", "validation_fraction"],
        ),
        (["--distribution=mirrored", "--jit_compile=true"], ["jit_compile=true", "mirrored"]),
        (
            ["--reweight_every=3", "--steps_per_execution=2"],
            ["reweight_every=3", "steps_per_execution=2"],
        ),
        (["--network=resnet33"], ["resnet33", "6n+2"]),
        (["--clean_per_class=5", "--num_clean=9"], ["clean_per_class=5", "num_clean=9", "one of"]),
        (["--num_clean=0"], ["num_clean", "at least 1", "got 0"]),
        (["--imbalance_ratio=9"], ["imbalance_ratio=9", "imbalance_type", "two_class"]),
        (["--imbalance_ratio=0.5"], ["imbalance_ratio", "at least 1", "0.5"]),
        (["--dominating_class=2"], ["dominating_class", "between 0 and 1", "got 2"]),
        (["--image_size=big"], ["--image_size=big", "whole number"]),
        (["--image_size=0"], ["image_size", "between 1 and 4096", "got 0"]),
        (["--classes=4,\t,\x00"], ["classes", "printable", r"'\x00'"]),
        (["--dataset="], ["dataset is empty"]),
        (["--dataset=a\nb"], ["dataset", "printable", r"'a\nb'"]),
        (["--dataset=a\udc80"], ["dataset", "printable"]),
        (["--name=a/b"], ["name", "'a/b'", "run_dir"]),
        (["stray"], ["'stray' is not a flag"]),
        (["--epochs=3", "--", "--seed=1"], ["'--seed=1' is not a flag"]),
        ([""], ["'' is not a flag"]),
        (["--flagfile=no/such.cfg"], ["no/such.cfg", "No such file"]),
        (["--flagfile=/"], ["--flagfile=/", "directory"]),
        (["--flagfile"], ["--flagfile"]),
    ],
    ids=lambda value: " ".join(value)[:40].replace("\udc80", "?") if value else "empty",
)
def test_unusable_arguments_are_named(arguments, parts):
    with pytest.raises(UsageError) as caught:
        config.from_arguments(arguments)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_flagfile_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "binary.cfg"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UsageError, match="flagfile is not a text file"):
        config.from_arguments([f"--flagfile={path}"])
    path.write_text("--epoch=3\n", encoding="utf-8")
    with pytest.raises(UsageError, match=f"--epoch in --flagfile={path} is not a flag"):
        config.from_arguments([f"--flagfile={path}"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 1.0),
        ("epochs", True),
        ("epochs", None),
        ("dataset", 3),
        ("with_plain", 1),
        ("learning_rate", "0.1"),
        ("lr_decay_epochs", "1,2"),
        ("lr_decay_epochs", (1, "2")),
    ],
)
def test_python_values_of_another_type_are_refused(field, value):
    with pytest.raises(UsageError, match=f"^{field} must be .*got"):
        RunConfig(**{field: value})


def test_whole_numbers_and_lists_are_taken_for_floats_and_tuples():
    settings_ = RunConfig(learning_rate=1, lr_decay_epochs=[1, 2.5])
    assert settings_.learning_rate == 1.0 and settings_.lr_decay_epochs == (1, 2.5)


@pytest.mark.process
def test_settings_are_known_without_the_heavy_libraries():
    code = (
        "import sys; from l2rw_tf.runs import config; config.from_arguments([]);"
        "heavy = {'tensorflow', 'keras', 'numpy', 'matplotlib', 'sklearn'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_part_is_what_its_room_takes():
    settings_ = RunConfig(dataset="mnist", num_clean=30, network="lenet", seed=4)
    assert settings_.part(DataSettings) == DataSettings(dataset="mnist", num_clean=30)
    assert settings_.part(NetworkSettings) == NetworkSettings(network="lenet")
    with pytest.raises(UsageError, match="noise_type"):
        DataSettings(noise_ratio=0.3)


def test_what_changes_no_result_makes_no_difference():
    one = RunConfig(clipnorm=1.0)
    harmless = {
        "keep_checkpoints": 1,
        "checkpoint_minutes": 5.0,
        "data_dir": "x",
        "progress": "bar",
    }
    assert differences(one, dataclasses.replace(one, **harmless, tensorboard=False)) == []
    other = dataclasses.replace(one, clipnorm=None, seed=3, keep_checkpoints=9)
    assert sorted(differences(one, other)) == [
        "clipnorm (1.0 there, not given here)",
        "seed (0 there, 3 here)",
    ]
