"""Ordinary training on the labels as they are given."""

from __future__ import annotations

from l2rw_tf.methods.method import Method

plain = Method()
