"""Ordinary training on the training and the clean examples together.

Shows what the clean data is worth without any method: the first baseline to compare with.
"""

from __future__ import annotations

from l2rw_tf.methods.method import Method

plain_with_clean = Method(part="both")
