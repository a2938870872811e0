from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from l2rw_tf.data import prepared_data
from l2rw_tf.errors import RunFailed
from l2rw_tf.runs import training
from l2rw_tf.runs.config import RunConfig
from l2rw_tf.runs.resume.checkpoints import Checkpoint, Checkpoints
from l2rw_tf.runs.resume.journal import Journal, NewRate

SETTINGS = RunConfig(
    clean_per_class=2, network="mlp", learning_rate=0.1, with_plain=True, batch_size=40
)


@pytest.fixture
def data(blobs):
    return prepared_data.prepare(SETTINGS, SETTINGS.seed)


def _journal(path, data, **settings):
    return Journal(Checkpoints(path, 2), dataclasses.replace(SETTINGS, **settings), data)


def _begin(path, data, **settings):
    """A journal with a finished plain training, and a checkpoint at the third step of another."""
    journal = _journal(path, data, **settings)
    network = training.build_network(dataclasses.replace(SETTINGS, seed=1), data)
    rows = [{"method": "plain", "epoch": 1, "loss": 0.1 + 0.2}]
    journal.finish(training.Training("plain", network, rows, rows[0], 10, 1.5, 0.25, 0, None))
    progress = {"phase": "main", "record": {"rows": [{"method": "l2rw", "epoch": 1}]}}
    journal.save("l2rw", Checkpoint(3, progress, {"state/0000": np.ones(2)}))
    return journal


def test_a_run_of_two_trainings_is_found_again(data, tmp_path):
    begun, found = _begin(tmp_path, data), _journal(tmp_path, data)
    assert found.saved.step == 10 + 3 and found.damaged == []
    assert found.saved_of("l2rw") is found.saved and found.saved_of("plain") is None
    assert [row["method"] for row in found.rows] == ["plain", "l2rw"]
    before, after = (one.finished["plain"] for one in (begun, found))
    for a, b in zip(before.network.get_weights(), after.network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert dataclasses.replace(after, network=before.network) == before


def test_a_finished_network_is_written_once(data, tmp_path):
    journal = _begin(tmp_path, data)
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("finished-plain/*")}
    assert len(finished) == 3
    journal.save("l2rw", Checkpoint(4, {"phase": "main"}, {"state/0000": np.ones(2)}))
    assert finished == {path: path.stat().st_mtime_ns for path in finished}
    assert list(Checkpoints(tmp_path, 2).newest().arrays) == ["state/0000"]


def test_a_damaged_finished_training_is_done_again(data, tmp_path):
    _begin(tmp_path, data)
    (tmp_path / "finished-plain" / "arrays.npz").write_bytes(b"")
    found = _journal(tmp_path, data)
    assert found.finished == {} and found.saved_of("l2rw") is found.saved
    (sentence,) = found.damaged
    assert "finished-plain is damaged" in sentence
    assert [row["method"] for row in found.rows] == ["l2rw"]


def test_other_data_is_refused(blobs, data, tmp_path):
    _begin(tmp_path, data)
    for seed, ratio in ((1, 0.0), (0, 0.2)):
        other = dataclasses.replace(
            SETTINGS, seed=seed, noise_ratio=ratio, noise_type="pair" if ratio else "none"
        )
        with pytest.raises(RunFailed, match="blobs has changed"):
            _journal(tmp_path, prepared_data.prepare(other, other.seed))
    blobs.train.x[7] += 1
    with pytest.raises(RunFailed, match="blobs has changed"):
        _journal(tmp_path, prepared_data.prepare(SETTINGS, SETTINGS.seed))


def test_a_smaller_learning_rate_stays(data, tmp_path):
    rates = {"finetune_steps": 5, "finetune_learning_rate": 0.05}
    _begin(tmp_path, data, **rates)
    assert _journal(tmp_path, data, **rates).config.learning_rate == 0.1
    asked = {**rates, "resume": True, "run_dir": "unused", "resume_learning_rate": 0.02}
    config = _begin(tmp_path / "2", data, **asked).config
    assert (config.learning_rate, config.finetune_learning_rate) == (0.02, 0.02)
    config = _journal(tmp_path / "2", data, **rates).config
    assert (config.learning_rate, config.finetune_learning_rate) == (0.02, 0.02)


def test_it_is_noted_when_the_learning_rate_became_another(data, tmp_path):
    assert _begin(tmp_path, data).new_rates == []
    for step, rate in ((9, 0.02), (10, 0.02), (11, 0.01)):
        asked = {"resume": True, "run_dir": "unused", "resume_learning_rate": rate}
        _journal(tmp_path, data, **asked).save("l2rw", Checkpoint(step, {}, {}))
    found = _journal(tmp_path, data)
    assert found.new_rates == [NewRate("l2rw", 3, 0.02), NewRate("l2rw", 10, 0.01)]
    assert found.config.learning_rate == 0.01
