"""Early stopping: back to the epoch that the held-out labels prefer, once a network is trained.

Not `keras.callbacks.EarlyStopping`: it begins anew with each `fit`, of which a training has one per
phase and one more after an interruption, and it puts back all variables of the model in training.
Here the network alone goes back, and never what was recorded of the examples.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np


class BestEpoch(keras.callbacks.Callback):
    """Keeps the network of the epoch with the best accuracy on held-out labels (first of equals).

    Attributes:
        epoch: That epoch, counted from 0.
    """

    def __init__(self, network: keras.Model) -> None:
        """Begins with no epoch.

        Args:
            network: The bare network.
        """
        super().__init__()
        self.epoch = -1
        self._network = network
        self._accuracy = -1.0
        self._weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keeps the network if it is better."""
        accuracy = (logs or {}).get("val_accuracy", -1.0)
        if accuracy > self._accuracy:
            self.epoch, self._accuracy = epoch, accuracy
            self._weights = self._network.get_weights()

    def state(self) -> dict[str, float]:
        """Returns what `resume` takes, as JSON can hold it; `arrays` has the rest."""
        return {"epoch": self.epoch, "accuracy": self._accuracy}

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the parameters of that epoch by name."""
        return {f"{number:04}": value for number, value in enumerate(self._weights)}

    def resume(self, state: Mapping[str, float], arrays: Mapping[str, np.ndarray]) -> None:
        """Goes on from a saved state."""
        self.epoch, self._accuracy = state["epoch"], state["accuracy"]
        self._weights = [arrays[name] for name in sorted(arrays)]

    def restore(self) -> None:
        """Sets the network back to that epoch."""
        self._network.set_weights(self._weights)
