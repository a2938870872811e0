"""Ordinary training on the few clean examples only.

Shows what the clean data is worth without the training data: a baseline for methods with both.
"""

from __future__ import annotations

from l2rw_tf.methods.method import Method

clean_only = Method(part="clean")
