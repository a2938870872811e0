"""Resampling: class-balanced batches, drawn with replacement.

RESAMPLE of Ren et al. 2018, section 4.1; classes are those of the given labels.
"""

from __future__ import annotations

from l2rw_tf.methods.method import Method

resample = Method(sampling="balanced")
