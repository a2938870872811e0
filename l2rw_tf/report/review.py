"""What the review in a run's report works on: the examples to look at, and earlier decisions."""

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

# The whole page stays below 25 MB; charts take less than the rest.
_MOST_BYTES = 20_000_000
# Side in pixels and JPEG's quality, until a picture is small enough; smaller images stay as they
# are, and the browser scales them up.
_SHAPES = ((256, 88), (192, 85), (128, 80), (96, 75), (64, 70))
_LOSSLESS_PIXELS = 96
_MOST_FEATURES = 200


def order(examples: quality.Table, suspected: np.ndarray, number: int) -> np.ndarray:
    """Returns the examples to review, as rows of a table, those whose decision helps most first.

    Suspected labels go before all others. Within both, classes take turns: the worst label of
    each class, then the second worst of each, and so on, so that none is forgotten; those of one
    turn are in the order of their quality.

    Args:
        examples: examples.csv by column.
        suspected: Which labels are suspected, bool (n,).
        number: How many rows are returned at most.
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
    """Returns what the page's script reads, for JSON.

    Args:
        examples: examples.csv by column.
        rows: The examples to review, as rows of it; all that fit the page are taken.
        inputs: Their inputs (rows, ...).
        suspected: Which labels are suspected, bool (n,).
        class_names: A name for each class.
        feature_names: A name for each feature; empty for images.
        run: The name of the run.
        earlier: The decisions that the run was given.
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
    """Returns an image as a data URI of at most so many bytes, or else of 64 pixels.

    Args:
        image: uint8 (height, width, 1 or 3).
        most_bytes: Of the URI.
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
