from __future__ import annotations

import base64
import dataclasses
import io
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from l2rw_tf import quality
from l2rw_tf.data.corrections import Correction
from l2rw_tf.data.examples import Examples
from l2rw_tf.report import page as report
from l2rw_tf.report import pictures
from tests import made_up

NASTY = ("<b>bold</b>", '"></script><img src=x onerror=alert(1)>', "$x_1$ & 数字")
VOID = {"meta", "link", "img", "br", "input"}


class Parsed(HTMLParser):
    """A page as a browser that trusts nobody sees it: tags, attributes and the text between."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.pictures, self.attributes = [], [], [], []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes.items()]
        if tag == "img":
            self.pictures.append(attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def values(self, name):
        return [value for _, attribute, value in self.attributes if attribute == name]

    @property
    def words(self):
        return " ".join(self.text.split())


def _content(picture):
    kind, _, content = picture["src"].removeprefix("data:").partition(";base64,")
    return kind, base64.b64decode(content, validate=True)


def _epochs(method, number, with_weights):
    rows = [
        {
            "method": method,
            "epoch": epoch,
            "phase": "main",
            "accuracy": 0.1 * epoch,
            "test_accuracy": 0.2 * epoch,
        }
        for epoch in range(1, number + 1)
    ]
    if with_weights:
        rows = [row | {"effective_batch_size": 20.0 + row["epoch"]} for row in rows]
    return rows


def _results(names, methods=("plain", "l2rw"), **changes):
    confusion = np.random.default_rng(len(names)).integers(0, 9, size=(len(names), len(names)))
    changes = {
        "dataset": "<i>data</i>/set.csv",
        "requested_dataset": "<i>data</i>/set.csv",
        "noise_type": "uniform",
        "heading": "<i>data</i>/set.csv, uniform flip, seed 3",
        "class_names": list(names),
        "test_confusion": confusion.tolist(),
        **changes,
    }
    *others, own = [made_up.run_results(method=method, **changes) for method in methods]
    return dataclasses.replace(own, plain=others[0] if others else None)


def _metrics(methods=("plain", "l2rw"), epochs=3):
    return [row for method in methods for row in _epochs(method, epochs, method == "l2rw")]


@pytest.fixture(scope="module")
def usual():
    """A run on images, with plain training beside it and the truth known."""
    random = np.random.default_rng(0)
    n = 40
    true = np.arange(n) % len(NASTY)
    given = np.where(np.arange(n) < 10, (true + 1) % len(NASTY), true)
    score = np.where(np.arange(n) < 12, 0.1, 0.9) + 0.09 * random.uniform(size=n)
    # The order of the examples in training is neither that of their ids nor that of the ranking.
    ids = 100 + random.permutation(n)
    inputs = random.integers(0, 256, size=(n, 8, 6, 1), dtype=np.uint8)
    return report.Report(
        results=_results(NASTY),
        metrics=_metrics(),
        settings={
            "dataset": "<i>data</i>/set.csv",
            "batch_size": "50",
            "seed": "3",
            "review_examples": "20",
        },
        examples=quality.ranked(
            {
                "id": ids,
                "given_label": given,
                "true_label": true,
                # Of the 12 worst, two are right and suspected all the same.
                "suggested_label": np.where(
                    (np.arange(n) < 12) & (given == true), (true + 1) % len(NASTY), true
                ),
                "given_probability": score,
                "label_quality": score,
                "mean_weight": np.where(given == true, 0.03, 0.0004),
                "mean_loss": np.where(given == true, 0.5, 2.5),
            }
        ),
        training=Examples(inputs, given, true, ids),
        feature_names=(),
        clean_examples={
            "origin": np.array(["./clean/<b>1</b>.png", "./clean/2.png"]),
            "given_label": np.array([1, 2]),
            "suggested_label": np.array([0, 2]),
            "given_probability": np.array([0.015, 0.9]),
            "suggested_probability": np.array([0.9, 0.9]),
            "doubtful": np.array([1, 0]),
        },
    )


def _page(run):
    with pictures.style():
        return report.page(run)


@pytest.fixture(scope="module")
def page(usual):
    return _page(usual)


def _without(run, *columns):
    kept = {name: column for name, column in run.examples.items() if name not in columns}
    return dataclasses.replace(run, examples=kept)


def _plain(run):
    return dataclasses.replace(
        _without(run, "mean_weight"),
        results=_results(NASTY, ["plain"]),
        metrics=_metrics(["plain"]),
    )


def _with_inputs(run, inputs, **changes):
    return dataclasses.replace(run, training=dataclasses.replace(run.training, x=inputs), **changes)


def _table_of_unknown_truth(run):
    unknown = {"wrong_label_share": None, "chosen_by_validation": None, "requested_dataset": "x"}
    return _with_inputs(
        _without(run, "true_label"),
        np.random.default_rng(1).normal(size=(40, 33)).astype(np.float32),
        results=_results(NASTY, **unknown),
        feature_names=[f"<u>{number}</u>" for number in range(33)],
    )


def _photographs_without_suspects(run):
    inputs = np.random.default_rng(1).integers(0, 256, size=(40, 150, 100, 3), dtype=np.uint8)
    return _with_inputs(run, inputs, examples={**run.examples, "label_quality": np.full(40, 0.9)})


def _many_classes(run):
    names = [*NASTY, *(f"class {number}" for number in range(3, 40))]
    return dataclasses.replace(
        run, results=_results(names, ["l2rw"]), metrics=_metrics(["l2rw"], epochs=1)
    )


@pytest.mark.parametrize(
    "change", [_plain, _table_of_unknown_truth, _photographs_without_suspects, _many_classes]
)
def test_every_page_is_whole(usual, change):
    run = change(usual)
    _check_page(run, _page(run))


def test_the_usual_page_is_whole_and_always_the_same(usual, page):
    _check_page(usual, page)
    assert page == _page(usual)


def _check_page(run, page):
    parsed = Parsed(page)
    assert not parsed.open
    assert parsed.tags[:2] == ["html", "head"] and ("html", "lang", "en") in parsed.attributes
    _check_references(page, parsed)
    _check_pictures(parsed)
    # What came from the data is text; nothing of it became a tag.
    assert not {"b", "i", "u"} & set(parsed.tags) and parsed.tags.count("script") == 2
    names = run.results.class_names
    for name in (*names[:3], "<i>data</i>/set.csv, uniform flip, seed 3"):
        assert name in parsed.text
    if run.feature_names:
        assert "\\u003cu\\u003e0\\u003c/u\\u003e" in page.partition('id="review-data"')[2]


def _check_references(page, parsed):
    identifiers = parsed.values("id")
    assert len(set(identifiers)) == len(identifiers)
    for tag, name, value in parsed.attributes:
        if name in ("src", "href", "srcset", "action", "data", "poster"):
            assert value.startswith("data:") or (tag == "a" and value[1:] in identifiers)
        if name in ("aria-labelledby", "aria-describedby"):
            assert value in identifiers
        assert not name.startswith("on") and name != "style"
    assert not re.search(r"@import|url\(", page)


def _check_pictures(parsed):
    assert parsed.pictures
    for picture in parsed.pictures:
        assert len(picture.get("alt", "")) > 20
        kind, content = _content(picture)
        if kind == "image/svg+xml":
            references = [
                value
                for element in ElementTree.fromstring(content).iter()
                for name, value in element.attrib.items()
                if name.rpartition("}")[2] == "href"
            ]
            assert all(value.startswith(("#", "data:")) for value in references)
        else:
            image = Image.open(io.BytesIO(content))
            assert kind == f"image/{image.format.lower()}" and max(image.size) <= 96


def _alt(page, start):
    (picture,) = [picture for picture in Parsed(page).pictures if picture["alt"].startswith(start)]
    return picture["alt"]


def test_the_first_screen_tells_what_came_out(page):
    words = Parsed(page).words
    assert "60.0% of the test images right, 60.0% with plain training" in words
    assert "12 of the 40 labels are suspected to be wrong; 10 of these really are" in words
    assert "uniform flip of 0.4 of the labels" in words


def test_alt_texts_have_the_figures_of_the_pictures(usual, page):
    accuracy = _alt(page, "Accuracy over the epochs")
    assert "reweighted, test: 20.0% after the first epoch, 60.0% at best" in accuracy
    assert "75.0% of the training labels are right" in accuracy
    weights = _alt(page, "Distribution")
    assert "30 right labels: mean weight 1.20" in weights
    assert "10 wrong labels: mean weight 0.02, median 0.02, 100.0% below 0.05" in weights
    assert "for batches of 50: 21.0 in the first epoch" in _alt(page, "Effective batch size")
    given = np.bincount(usual.training.y)
    suspected, wrong = np.bincount(usual.training.y[:12]), np.bincount(usual.training.y[:10])
    assert f"<b>bold</b>: {suspected[0]} of {given[0]} suspected, {wrong[0]} really wrong" in _alt(
        page, "Suspected labels"
    )
    confusion = np.array(usual.results.test_confusion)
    right = sum(confusion[label][label] for label in range(3))
    assert f"{right} of {confusion.sum()} test examples right" in _alt(
        page, "Confusion matrix, rew"
    )


def test_the_ranking_is_scored_as_defined(usual, page):
    alt = _alt(page, "Precision and recall")
    wrong, quality = usual.wrong, usual.examples["label_quality"]
    precisions, found = [], 0
    for place, example in enumerate(sorted(range(40), key=lambda i: quality[i]), start=1):
        if wrong[example]:
            found += 1
            precisions.append(found / place)
    pairs = [
        quality[i] < quality[j] for i in range(40) if wrong[i] for j in range(40) if not wrong[j]
    ]
    assert f"average precision {np.mean(precisions):.3f}" in alt
    assert f"area under the ROC curve {np.mean(pairs):.3f}" in alt
    assert "recall 100.0%, precision 83.3%" in alt


@pytest.mark.parametrize("trusted", [None, 0.75])
def test_labels_that_may_be_wrong_measure_no_accuracy(usual, trusted):
    changes = {"test_labels": "as given"}
    sizes = {"training": 40, "clean": 6, "validation": 5, "test": 30}
    if trusted is not None:
        sizes["held-out trusted"] = 20
        changes |= {"trusted_accuracy": trusted, "trusted_accuracy_error": 0.09}
    run = dataclasses.replace(
        usual,
        results=_results(NASTY, examples=sizes, **changes),
        metrics=[row | {"trusted_accuracy": 0.25 * row["epoch"]} for row in _metrics()],
    )
    page = _page(run)
    _check_page(run, page)
    words = Parsed(page).words
    assert "of the test images right" not in words
    assert "Agreement with given test labels60.0%60.0%" in words
    assert "agreement with them is not accuracy" in words
    assert "predicted as labelled" in _alt(page, "Confusion matrix, reweighted")
    if trusted is None:
        assert "12 of 40 labels suspected" in words and "Accuracy not known" in words
        assert "reweighted, given test labels: 20.0%" in _alt(page, "Accuracy over")
    else:
        assert "75.0% ± 9.0% of the held-out trusted images right, 75.0% ± 9.0% with" in words
        assert "reweighted, trusted: 25.0% after the first epoch" in _alt(page, "Accuracy over")


def test_held_out_trusted_examples_as_test_data(usual):
    changes = {"test_labels": "trusted", "test_accuracy": 0.75, "trusted_accuracy": 0.75}
    run = dataclasses.replace(
        usual,
        results=_results(NASTY, trusted_accuracy_error=0.09, **changes),
        metrics=[row | {"trusted_accuracy": 0.25 * row["epoch"]} for row in _metrics()],
        reviewed=_results(NASTY, suspected_labels=1234),
        corrections=[Correction("./gone.png", "", NASTY[0], "right", NASTY[0])],
    )
    page = _page(run)
    _check_page(run, page)
    words = Parsed(page).words
    assert "75.0% ± 9.0% of the held-out trusted images right" in words
    assert "on 30 held-out trusted images, ± its standard error." in words
    assert "held-out trusted examples right" in _alt(page, "Confusion matrix, reweighted")
    assert "Change of accuracy+15.0% ± " in words
    assert "greement" not in words and "Confusion on the held-out trusted images" in words
    assert "Suspected labels1,23412" in words
    assert "Accuracy ison 30 test images with true labels.on 30 held-out trusted" in words


def test_names_of_classes_are_letters_in_the_pictures(page):
    charts = [p for p in Parsed(page).pictures if "svg" in p["src"][:20]]
    texts = {
        "".join(element.itertext()).strip()
        for picture in charts
        for element in ElementTree.fromstring(_content(picture)[1]).iter()
        if element.tag.endswith("}text")
    }
    # Neither mathematics nor missing letters.
    assert {"<b>bold</b>", "$x_1$ & 数字"} <= texts
