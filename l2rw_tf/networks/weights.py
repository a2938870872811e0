"""Initializers, weight decay and batch normalization of the networks' layers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


class Weights:
    """Initializers, regularizers and batch normalization for the layers of one network.

    Kernels start as in He et al. 2015 (arXiv 1502.01852), normal with variance 2 / fan-in, unless a
    network asks for another initializer.
    """

    def __init__(
        self, weight_decay: float, seed: int | None, sync_batch_norm: bool = False
    ) -> None:
        """Stores the settings.

        Args:
            weight_decay: λ of the penalty λ · ½‖θ‖² on each kernel.
            seed: Seed of every initializer and of dropout, or None for Keras's global seed.
            sync_batch_norm: Whether batch normalization uses the whole batch of all replicas.
        """
        self._sync_batch_norm = sync_batch_norm
        self._weight_decay = weight_decay
        self._seeds = None if seed is None else np.random.PCG64(np.random.SeedSequence(seed))

    def next_seed(self) -> int | None:
        """Returns the next layer's seed, or None to use Keras's global seed."""
        return None if self._seeds is None else int(self._seeds.random_raw() >> 33)

    def kernel(
        self, initializer: type[keras.initializers.Initializer] = keras.initializers.HeNormal
    ) -> dict[str, Any]:
        """Returns the keyword arguments of the next layer with a kernel.

        Args:
            initializer: Initializer of the kernel.
        """
        return {
            "kernel_initializer": initializer(seed=self.next_seed()),
            "kernel_regularizer": (
                keras.regularizers.L2(self._weight_decay / 2) if self._weight_decay else None
            ),
        }

    def decay_kernels(self, network: keras.Model) -> None:
        """Adds weight decay to the trainable kernels of a network that have no regularizer.

        Args:
            network: A built network; only its losses change.
        """
        if not self._weight_decay:
            return
        for variable in network.trainable_variables:
            if variable.name.endswith("kernel") and variable.regularizer is None:
                variable.regularizer = keras.regularizers.L2(self._weight_decay / 2)

    def batch_normalization(self) -> dict[str, Any]:
        """Returns the keyword arguments of a layer of batch normalization."""
        return {"momentum": 0.9, "epsilon": 1e-5, "synchronized": self._sync_batch_norm}
