"""results.json."""

from __future__ import annotations

import dataclasses
import json

import pytest

from l2rw_tf.errors import UsageError
from l2rw_tf.runs import results
from l2rw_tf.runs.run_directory import RunDirectory
from tests import made_up


@pytest.mark.parametrize("plain", [None, made_up.run_results(method="plain")])
def test_results_come_back_from_the_file(plain, tmp_path):
    if plain is not None:
        plain = results.TrainingResults(
            **{
                field.name: getattr(plain, field.name)
                for field in dataclasses.fields(results.TrainingResults)
            }
        )
    written = made_up.run_results(plain=plain, chosen_by_validation=None)
    results.write(RunDirectory(tmp_path), written)
    assert results.read(tmp_path) == written
    content = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert ("plain" in content) == (plain is not None)
    assert content["last_epoch"] == {"epoch": 3, "test_accuracy": 0.6}
    assert list(written.trainings) == (["plain", "l2rw"] if plain else ["l2rw"])


def test_results_of_other_versions_are_read_as_far_as_they_go(tmp_path):
    """Keys that are not known are left out; those that came later may be missing."""
    results.write(RunDirectory(tmp_path), made_up.run_results())
    path = tmp_path / "results.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["test_confusion"], content["heading"]
    path.write_text(json.dumps(content | {"flavour": "mint"}), encoding="utf-8")
    assert results.read(tmp_path).test_accuracy == 0.6
    del content["method"]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UsageError, match="results.json cannot be used"):
        results.read(tmp_path)
