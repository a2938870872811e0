from __future__ import annotations

import resource
import shutil
import subprocess

import numpy as np
import pytest

from l2rw_tf.runs.resume.checkpoints import Checkpoint, Checkpoints


def _checkpoint(step):
    arrays = {
        "state/0000": np.arange(60, dtype=np.float32).reshape(3, 20) / step,
        "state/0001": np.int64(step),
        "best/0000": np.zeros((0, 2), np.float16),
    }
    return Checkpoint(step, {"phase": "main", "accuracy": 0.1 + 0.2, "loss": float("nan")}, arrays)


def _steps(path):
    return sorted(entry.name for entry in path.iterdir())


@pytest.fixture
def two(tmp_path):
    """A directory with the checkpoints of the steps 5 and 10."""
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (5, 10):
        checkpoints.save(_checkpoint(step))
    return tmp_path


def _newest(path):
    checkpoints = Checkpoints(path, keep=2)
    return checkpoints.newest(), checkpoints.damaged


def _check_equal(found, step):
    expected = _checkpoint(step)
    assert found.step == step
    assert str(found.progress) == str(expected.progress)
    assert list(found.arrays) == list(expected.arrays)
    for name, array in expected.arrays.items():
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array)


def test_the_newest_is_read_as_it_was_written(two):
    found, damaged = _newest(two)
    _check_equal(found, 10)
    assert damaged == []


def test_the_last_ones_are_kept(two):
    checkpoints = Checkpoints(two, keep=2)
    for step in (12, 100, 20_000):
        checkpoints.save(_checkpoint(step))
        assert checkpoints.newest_path.name == f"step-{step:010}"
    assert _steps(two) == ["step-0000000100", "step-0000020000"]
    _check_equal(_newest(two)[0], 20_000)


def test_none_is_none(tmp_path):
    assert _newest(tmp_path / "missing") == (None, [])
    assert Checkpoints(tmp_path / "missing", keep=1).newest_path is None


def test_the_sums_are_those_of_sha256sum(two):
    newest = Checkpoints(two, keep=2).newest_path
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=newest, check=True)


def _cut(length):
    def damage(file):
        content = file.read_bytes()
        file.write_bytes(content[: length(len(content))])

    return damage


def _flip(place):
    def damage(file):
        content = bytearray(file.read_bytes())
        content[place(len(content))] ^= 1 << 4
        file.write_bytes(content)

    return damage


DAMAGE = {
    "cut to nothing": _cut(lambda size: 0),
    "cut to half": _cut(lambda size: size // 2),
    "cut by a byte": _cut(lambda size: size - 1),
    "first bit": _flip(lambda size: 0),
    "a bit in the middle": _flip(lambda size: size // 2),
    "last bit": _flip(lambda size: size - 1),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"\n"),
    "missing": lambda file: file.unlink(),
    "a directory": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("name", ["arrays.npz", "progress.json", "SHA256SUMS"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_one_is_passed_over(two, damage, name):
    damage(two / "step-0000000010" / name)
    found, (sentence,) = _newest(two)
    _check_equal(found, 5)
    assert f"{two}/step-0000000010 is damaged" in sentence

    damage(two / "step-0000000005" / name)
    found, sentences = _newest(two)
    assert found is None and len(sentences) == 2


def test_a_bit_anywhere_is_found(two):
    for file in (two / "step-0000000010").iterdir():
        content = file.read_bytes()
        for place in range(0, len(content), 7):
            changed = bytearray(content)
            changed[place] ^= 1 << (place % 8)
            file.write_bytes(changed)
            assert _newest(two)[0].step == 5
        file.write_bytes(content)
    assert _newest(two)[0].step == 10


def test_damaged_ones_go_when_a_new_one_is_there(two):
    shutil.rmtree(two / "step-0000000010")
    (two / "step-0000000010").mkdir()
    checkpoints = Checkpoints(two, keep=2)
    assert checkpoints.newest().step == 5
    checkpoints.save(_checkpoint(8))
    assert _steps(two) == ["step-0000000005", "step-0000000008"]


def test_a_damaged_one_of_the_same_step_is_replaced(two):
    (two / "step-0000000010" / "SHA256SUMS").unlink()
    checkpoints = Checkpoints(two, keep=2)
    checkpoints.newest()
    checkpoints.save(_checkpoint(10))
    _check_equal(_newest(two)[0], 10)


def test_an_unfinished_one_is_none(two):
    (two / "step-0000000010").rename(two / ".unfinished-checkpoint")
    found, damaged = _newest(two)
    assert (found.step, damaged) == (5, [])
    Checkpoints(two, keep=2).save(_checkpoint(11))
    assert _steps(two) == ["step-0000000005", "step-0000000011"]


def test_a_full_disk_leaves_those_before(two):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    checkpoints = Checkpoints(two, keep=2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            checkpoints.save(_checkpoint(11))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == f"{two}/step-0000000011"
    assert _steps(two) == ["step-0000000005", "step-0000000010"]
    assert _newest(two)[0].step == 10
