from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits

from l2rw_tf.data import (
    corruption,
    pipeline,
    preprocessing,
    sources,
    splits,
    storage,
    tfds_images,
    tfds_labels,
)
from l2rw_tf.data.settings import DataSettings
from l2rw_tf.errors import DataUnavailable, UsageError

CLASSES = ["a", "b", "c"]


class MadeImages(tfds.core.GeneratorBasedBuilder):
    """Images that a test shapes; `url` is downloaded first where it is not None."""

    VERSION = tfds.core.Version("1.0.0")
    url = None
    shape = (4, 5, 3)
    dtype = np.uint8
    sizes = [(4, 5)]
    labels = {"train": [0, 1, 2, 0, 1, 2], "test": [2, 1, 0]}

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "picture": tfds.features.Image(shape=self.shape, dtype=self.dtype),
                    "kind": tfds.features.ClassLabel(names=CLASSES),
                }
            ),
            supervised_keys=("picture", "kind"),
        )

    def _split_generators(self, dl_manager):
        if self.url:
            dl_manager.download(self.url)
        return {split: self._generate_examples(labels) for split, labels in self.labels.items()}

    def _generate_examples(self, labels):
        for key, label in enumerate(labels):
            size = self.sizes[key % len(self.sizes)]
            yield (
                key,
                {"picture": np.full((*size, 3), 10 * abs(label) + key, self.dtype), "kind": label},
            )


@contextlib.contextmanager
def server(answer: bytes = b""):
    """A server on this machine that sends some bytes to every caller and then nothing more."""
    listening = socket.create_server(("127.0.0.1", 0))
    callers = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = listening.accept()
                callers.append(caller)
                caller.recv(65536)
                caller.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}", callers
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for caller in callers:
            caller.close()
        thread.join()


def load(directory: pathlib.Path, **arguments):
    return tfds_images.read("made_images", data_dir=str(directory), **arguments)


def test_an_image_data_set_is_prepared_once_and_read_with_its_own_names(tmp_path, capfd):
    source = load(tmp_path / "new" / "place")
    assert (source.name, source.kind, source.class_names) == (
        "made_images",
        "image",
        ("a", "b", "c"),
    )
    assert source.input_shape == (4, 5, 3) and source.train.x.dtype == np.uint8
    assert sorted(source.train.y) == [0, 0, 1, 1, 2, 2] and sorted(source.test.y) == [0, 1, 2]
    keys = source.train.x[:, 0, 0, 0] - 10 * source.train.y
    np.testing.assert_array_equal(source.train.y, keys % 3)
    again = load(tmp_path / "new" / "place")
    np.testing.assert_array_equal(source.train.x, again.train.x)
    assert [path.name for path in (tmp_path / "new" / "place").iterdir()] == ["made_images"]
    out, err = capfd.readouterr()
    place = tmp_path / "new" / "place"
    assert out == f"made_images is not in {place}; downloading it.\n"
    assert "made_images" not in err and "Dl " not in err


def test_a_process_that_prepared_the_same_first_wins(tmp_path):
    first = load(tmp_path)
    tfds_images._prepare("made_images", tmp_path)
    np.testing.assert_array_equal(load(tmp_path).train.x, first.train.x)
    assert os.listdir(tmp_path) == ["made_images"]
    assert os.listdir(tmp_path / "made_images") == ["1.0.0"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "HTTP code: 404",
        ),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "503 error"),
    ],
)
def test_other_failures_of_a_download(tmp_path, monkeypatch, answer, why):
    with server(answer) as (host, _):
        monkeypatch.setattr(MadeImages, "url", f"http://{host}/images.zip")
        with pytest.raises(DataUnavailable, match=why) as caught:
            load(tmp_path)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_no_connection_at_all(tmp_path, monkeypatch):
    with server() as (host, _):
        pass
    monkeypatch.setattr(MadeImages, "url", f"http://{host}/images.zip")
    start = time.monotonic()
    with pytest.raises(DataUnavailable) as caught:
        load(tmp_path / "new" / "place")
    assert time.monotonic() - start < 20
    assert str(caught.value) == (
        f"dataset 'made_images' is not in {tmp_path}/new/place and could not be prepared there: no "
        f"connection to {host}; run `tfds build made_images --data_dir=DIR` on a machine "
        "with internet access, copy DIR here and give it as data_dir."
    )
    assert os.listdir(tmp_path) == []


def test_downloads_that_lie_there_already_are_used_and_nothing_is_added(tmp_path, monkeypatch):
    (tmp_path / "downloads").mkdir()
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") as (host, callers):
        monkeypatch.setattr(MadeImages, "url", f"http://{host}/images.zip")
        builder = MadeImages(data_dir=str(tmp_path / "elsewhere"))
        builder.download_and_prepare(download_dir=str(tmp_path / "downloads"))
        load(tmp_path)
        assert len(callers) == 1
    files = sorted(os.listdir(tmp_path / "downloads"))
    with server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as (
        host,
        _,
    ):
        monkeypatch.setattr(MadeImages, "url", f"http://{host}/other.zip")
        with pytest.raises(DataUnavailable):
            tfds_images._prepare("made_images", tmp_path)
    assert sorted(os.listdir(tmp_path / "downloads")) == files


def test_a_download_that_arrives_is_used_and_not_kept(tmp_path, monkeypatch):
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") as (host, _):
        monkeypatch.setattr(MadeImages, "url", f"http://{host}/images.zip")
        assert len(load(tmp_path).train) == 6
    assert os.listdir(tmp_path) == ["made_images"]


def test_images_of_several_sizes_need_one(tmp_path, monkeypatch):
    monkeypatch.setattr(MadeImages, "shape", (None, None, 3))
    monkeypatch.setattr(MadeImages, "sizes", [(4, 5), (8, 10)])
    with pytest.raises(
        UsageError, match=r"images 0 and \d of dataset .* differ .* give image_size"
    ):
        load(tmp_path)
    source = load(tmp_path, image_size=6)
    assert source.train.x.shape == (6, 6, 6, 3)
    keys = source.train.x[:, 0, 0, 0] - 10 * source.train.y
    assert sorted(keys) == list(range(6))


def test_images_beyond_memory_are_read_from_a_file(tmp_path, monkeypatch):
    in_memory = load(tmp_path)
    monkeypatch.setattr(storage, "memory_size", lambda: 100)
    stored = load(tmp_path)
    assert isinstance(stored.train.x, storage.StoredImages)
    np.testing.assert_array_equal(np.asarray(stored.train.x), in_memory.train.x)
    np.testing.assert_array_equal(stored.train.y, in_memory.train.y)


def test_a_test_part_without_labels_gives_way_to_validation(tmp_path, monkeypatch):
    labels = {"train": [0, 1, 2], "validation": [0, 1], "test": [-1, -1]}
    monkeypatch.setattr(MadeImages, "labels", labels)
    assert sorted(load(tmp_path / "a").test.y) == [0, 1]
    monkeypatch.setattr(MadeImages, "labels", {"train": [0, 1, 2], "test": [-1]})
    assert load(tmp_path / "b").test is None
    monkeypatch.setattr(MadeImages, "labels", {"test": [0, 1]})
    with pytest.raises(UsageError, match="has no split 'train', only test"):
        load(tmp_path / "c")


def test_images_of_another_type_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(MadeImages, "dtype", np.uint16)
    with pytest.raises(UsageError, match="has uint16 images; only uint8"):
        load(tmp_path)


def test_damaged_files_are_named(tmp_path):
    load(tmp_path)
    place = tmp_path / "made_images" / "1.0.0"
    shard = next(place.glob("*train*"))
    content = shard.read_bytes()
    shard.write_bytes(content[:-20])
    with pytest.raises(
        UsageError, match=f"the data in {place} cannot be read .* remove that"
    ) as one:
        load(tmp_path)
    assert "\n" not in str(one.value)
    (place / "dataset_info.json").write_text("{")
    with pytest.raises(UsageError, match="'made_images' in .* cannot be used"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar11", "did you mean cifar10"),
        ("digit", "did you mean digits"),
        ("no such thing", "possible are digits, an image classification data set"),
        ("huggingface:mnist", "is not known"),
        ("", "dataset '' is not known"),
        ("mnist:9.9.9", "'mnist:9.9.9' .* cannot be used|is not known"),
        ("wikipedia", "not for image classification: .* it has title, text"),
        ("glue/cola", "not for image classification"),
        ("glue/nothing", "'glue/nothing' .*(cannot be used|is not known)"),
    ],
)
def test_a_name_that_cannot_be_used_is_one_clear_line(tmp_path, name, message):
    with pytest.raises(UsageError, match=message) as caught:
        tfds_images.read(name, data_dir=str(tmp_path))
    assert not isinstance(caught.value, DataUnavailable)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert os.listdir(tmp_path) == []


def test_digits_are_those_of_scikit_learn(tmp_path, capfd):
    source = tfds_images.read("digits", data_dir=str(tmp_path))
    assert "l2rw" not in "".join(capfd.readouterr())
    digits = load_digits()
    assert (len(source.train), len(source.test)) == (1437, 360)
    assert source.input_shape == (8, 8, 1) and source.class_names == tuple("0123456789")
    expected = {
        (np.round(image * 255 / 16).astype(np.uint8).tobytes(), int(label))
        for image, label in zip(digits.images, digits.target, strict=True)
    }
    found = [
        (image.tobytes(), int(label))
        for part in (source.train, source.test)
        for image, label in zip(part.x, part.y, strict=True)
    ]
    assert len(found) == 1797 and set(found) == expected
    assert min(np.bincount(source.test.y)) >= 25


def test_digits_need_no_directory_that_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "can_write", lambda directory: directory != tmp_path)
    assert len(tfds_images.read("digits", data_dir=str(tmp_path)).train) == 1437
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("name", "num_classes"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar(tmp_path, name, num_classes):
    builder = tfds.builder(name, data_dir=str(tmp_path))
    parts = [
        tfds.core.SplitInfo(name=split, shard_lengths=[12], num_bytes=1, filename_template=None)
        for split in ("train", "test")
    ]
    builder.info.set_splits(tfds.core.splits.SplitDict(parts))
    builder.data_path.mkdir(parents=True)
    builder.info.write_to_directory(builder.data_path)
    with tfds.testing.mock_data(num_examples=12, data_dir=str(tmp_path)):
        source = tfds_images.read(name, data_dir=str(tmp_path))
    assert source.input_shape == (32, 32, 3) and source.train.x.dtype == np.uint8
    assert (source.num_classes, len(source.train), len(source.test)) == (num_classes, 12, 12)
    assert source.train.y.max() < num_classes


@pytest.mark.slow
def test_fashion_mnist_as_it_was_prepared():
    directory = os.environ.get("TFDS_DATA_DIR", "")
    if not os.path.isdir(os.path.join(directory, "fashion_mnist")):
        pytest.skip("TFDS_DATA_DIR does not hold fashion_mnist")
    source = tfds_images.read("fashion_mnist")
    assert np.bincount(source.train.y).tolist() == [6000] * 10
    assert np.bincount(source.test.y).tolist() == [1000] * 10
    assert source.input_shape == (28, 28, 1) and source.class_names[9] == "Ankle boot"
    # The data set's mean and deviation, as everybody quotes them.
    assert abs(source.train.x.mean() / 255 - 0.2860) < 5e-5
    assert abs(source.train.x.std() / 255 - 0.3530) < 5e-5


def digest(directory: str) -> str:
    """A fingerprint of splits, labels and batches."""
    source = sources.load("digits", data_dir=directory)
    settings = DataSettings(clean_per_class=5, noise_type="uniform", noise_ratio=0.4)
    parts = splits.split(source, settings, seed=7)
    train = corruption.corrupt(parts.train, settings, num_classes=10, seed=7)
    batches = pipeline.training_batches(
        train,
        preprocessing.Preprocessing.fit(train, source.kind),
        batch_size=100,
        seed=7,
        augment="crop_flip",
        with_rows=True,
    )
    result = hashlib.sha256()
    for part in (train, parts.clean, parts.validation, parts.test):
        for array in (part.x, part.y, part.ids):
            result.update(array.tobytes())
    for batch in batches.take(30).as_numpy_iterator():
        for array in batch:
            result.update(array.tobytes())
    return result.hexdigest()


@pytest.mark.process
def test_two_processes_that_prepare_at_once_see_the_same_bytes(tmp_path):
    code = "import sys; from tests.data import test_tfds_images as t; print(t.digest(sys.argv[1]))"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=pathlib.Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    here = digest(str(tmp_path))
    out, err = other.communicate()
    assert other.returncode == 0, err
    assert out.strip() == here
    assert os.listdir(tmp_path) == ["digits"]


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_place_that_is_no_directory(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataUnavailable, match="could not be prepared there"):
        load(tmp_path / name)
    assert len(tfds_images.read("digits", data_dir=str(tmp_path / name)).train) == 1437
    with pytest.raises(UsageError, match="data_dir must be the name of a directory"):
        tfds_images.read("digits", data_dir="nul\0byte")


@pytest.fixture
def second_opinion(monkeypatch):
    """Gives the made images another label of the same classes, which is mostly wrong."""
    generate = MadeImages._generate_examples

    def info(self):
        label = tfds.features.ClassLabel(names=CLASSES)
        image = tfds.features.Image(shape=self.shape)
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {"picture": image, "kind": label, "opinion": label}
            ),
            supervised_keys=("picture", "kind"),
        )

    def examples(self, labels):
        for key, example in generate(self, labels):
            yield key, {**example, "opinion": 0}

    monkeypatch.setattr(MadeImages, "_info", info)
    monkeypatch.setattr(MadeImages, "_generate_examples", examples)


def test_of_several_labels_one_is_named(tmp_path, second_opinion):
    with pytest.raises(UsageError, match="kind, opinion.*label_column"):
        load(tmp_path)
    with pytest.raises(UsageError, match="label_column=other.* kind, opinion"):
        load(tmp_path, label_column="other")
    with pytest.raises(UsageError, match="true_label_column=picture"):
        load(tmp_path, label_column="opinion", true_label_column="picture")
    with pytest.raises(UsageError, match="both name the feature 'kind'"):
        load(tmp_path, label_column="kind", true_label_column="kind")
    source = load(tmp_path, label_column="opinion", true_label_column="kind")
    assert not source.train.y.any() and sorted(source.train.true_y) == [0, 0, 1, 1, 2, 2]
    assert load(tmp_path, label_column="kind").train.true_y is None
    assert source.train.origins[:2].tolist() == ["index 0", "index 1"]


@pytest.fixture
def whole_numbers(monkeypatch):
    """Gives the made images whole numbers beside their label."""
    generate = MadeImages._generate_examples

    def info(self):
        features = {
            "picture": tfds.features.Image(shape=self.shape),
            "kind": tfds.features.ClassLabel(names=CLASSES),
            "number": np.int64,
            "seen": tfds.features.Tensor(shape=(), dtype=np.int32),
            "weight": np.float32,
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def examples(self, labels):
        for key, example in generate(self, labels):
            number, seen = (3, 7)[example["kind"] % 2], (example["kind"] + 1) % 3
            yield key, {**example, "number": number, "seen": seen, "weight": 0.5}

    monkeypatch.setattr(MadeImages, "_info", info)
    monkeypatch.setattr(MadeImages, "_generate_examples", examples)


def test_whole_numbers_that_are_named_are_labels(tmp_path, whole_numbers):
    source = load(tmp_path, label_column="number", image_size=8)
    assert source.class_names == ("3", "7") and source.input_shape == (8, 8, 3)
    by_kind = load(tmp_path)
    assert by_kind.class_names == ("a", "b", "c")
    for part, kinds in ((source.train, by_kind.train), (source.test, by_kind.test)):
        np.testing.assert_array_equal(part.y, kinds.y % 2)
    # Beside named classes numbers are their positions.
    source = load(tmp_path, label_column="seen", true_label_column="kind")
    assert source.class_names == ("a", "b", "c")
    np.testing.assert_array_equal(source.train.y, (by_kind.train.y + 1) % 3)
    np.testing.assert_array_equal(source.train.true_y, by_kind.train.y)
    with pytest.raises(UsageError, match="'number' holds 3, but .* classes 0 to 2"):
        load(tmp_path, label_column="number", true_label_column="kind")
    with pytest.raises(UsageError, match="label_column=weight.* there are kind, number, seen"):
        load(tmp_path, label_column="weight")


def test_whole_numbers_are_no_labels_unless_somebody_says_so():
    there = {
        "image": tfds.features.Image(shape=(4, 5, 3)),
        "a": np.int64,
        "b": tfds.features.Text(),
    }
    info = types.SimpleNamespace(features=tfds.features.FeaturesDict(there), supervised_keys=None)
    builder = types.SimpleNamespace(info=info)
    with pytest.raises(UsageError, match="no feature of class labels: .* label_column to one of a"):
        tfds_labels.features("made", builder, "", "")
    assert tfds_labels.features("made", builder, "a", "") == ["image", "a"]
