"""Ordinary training on the few clean examples alone.

What the clean data is worth without the training data: a lower bound for what uses both.
"""

from __future__ import annotations

from l2rw_tf.methods.method import Method

clean_only = Method(part="clean")
