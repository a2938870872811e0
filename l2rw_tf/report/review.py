"""The data of the review in a run's report: examples to look at, and earlier decisions."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from l2rw_tf import quality
from l2rw_tf.data.corrections import Correction

# The whole page stays below 25 MB; the charts take less than the remaining 5 MB.
_MOST_BYTES = 20_000_000
# Pairs of side in pixels and JPEG quality, tried until an image is small enough. Images are never
# enlarged; the browser does that.
_SHAPES = ((256, 88), (192, 85), (128, 80), (96, 75), (64, 70))
_LOSSLESS_PIXELS = 96
_MOST_FEATURES = 200


def order(examples: quality.Table, suspected: np.ndarray, number: int) -> np.ndarray:
    """Returns the rows of the examples to review, those whose review helps most first.

    Suspected labels come before all others. In both groups, classes alternate: the worst label of
    each class, then the second worst of each, and so on; within a round, labels are ordered by
    quality.

    Args:
        examples: The columns of examples.csv.
        suspected: Whether each label is suspected, bool (n,).
        number: The largest number of rows to return.
    """
    labels, scores = examples["given_label"], examples["label_quality"]
    turns = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        turns[of_class[np.argsort(scores[of_class], kind="stable")]] = np.arange(len(of_class))
    return np.lexsort((scores, turns, ~suspected))[:number]


def content(
    examples: quality.Table,
    rows: np.ndarray,
    inputs: np.ndarray,
    *,
    suspected: np.ndarray,
    class_names: Sequence[str],
    feature_names: Sequence[str],
    run: str,
    earlier: Sequence[Correction],
) -> dict[str, Any]:
    """Returns the data for the page's script, in a form that JSON can store.

    Args:
        examples: The columns of examples.csv.
        rows: The rows of the examples to review; as many are used as fit into the page.
        inputs: The inputs of these rows, (rows, ...).
        suspected: Whether each label is suspected, bool (n,).
        class_names: A name for each class.
        feature_names: A name for each feature; empty for images.
        run: The name of the run.
        earlier: The corrections that the run was trained with.
    """
    origins = examples.get("origin", np.array([f"index {one}" for one in examples["id"]]))
    hashes = examples.get("content_hash", np.full(len(origins), ""))
    found, left = [], _MOST_BYTES
    for row, value in zip(rows, inputs, strict=True):
        if feature_names:
            shown: Any = [f"{cell:.6g}" for cell in value.tolist()[:_MOST_FEATURES]]
            left -= sum(map(len, shown)) + 4 * len(shown)
        else:
            shown = _picture(value, _MOST_BYTES // len(rows))
            left -= len(shown)
        if left < 0:
            break
        found.append(
            {
                "origin": str(origins[row]),
                "hash": str(hashes[row]),
                "given": int(examples["given_label"][row]),
                "suggested": int(examples["suggested_label"][row]),
                "quality": f"{examples['label_quality'][row]:.3f}",
                "suspected": bool(suspected[row]),
                "true": int(examples["true_label"][row]) if "true_label" in examples else None,
                "shown": shown,
            }
        )
    identity = hashlib.sha256(run.encode())
    for one in (examples["id"], examples["given_label"], *(origins, hashes)):
        identity.update("\n".join(map(str, one)).encode("utf-8", "surrogatepass"))
    return {
        "key": f"l2rw review {run} {identity.hexdigest()[:16]}",
        "classes": list(class_names),
        "features": list(feature_names)[:_MOST_FEATURES],
        "more_features": max(0, len(feature_names) - _MOST_FEATURES),
        "examples": found,
        "earlier": [
            [one.origin, one.content_hash, one.given_label, one.decision, one.label]
            for one in earlier
        ],
    }


def _picture(image: np.ndarray, most_bytes: int) -> str:
    """Returns an image as a data URI, reduced to 64 pixels at most to fit into `most_bytes`.

    Args:
        image: uint8 (height, width, 1 or 3).
        most_bytes: The wanted length of the URI; exceeded if 64 pixels do not fit.
    """
    pixels = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    if max(pixels.size) <= _LOSSLESS_PIXELS:
        uri = _data_uri(pixels, "png")
        if len(uri) <= most_bytes:
            return uri
    for side, jpeg_quality in _SHAPES:
        smaller = pixels.copy()
        smaller.thumbnail((side, side))
        uri = _data_uri(smaller, "jpeg", quality=jpeg_quality)
        if len(uri) <= most_bytes:
            break
    return uri


def _data_uri(pixels: Image.Image, kind: str, **options: int) -> str:
    file = io.BytesIO()
    pixels.save(file, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
