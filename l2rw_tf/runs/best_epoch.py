"""Early stopping: back to the best epoch by some labels, once a network is trained.

Not `keras.callbacks.EarlyStopping`: it begins anew with each `fit`, of which a training has one per
phase and one more after an interruption, and it puts back all variables of the model in training.
Here the network alone goes back, and never what was recorded of the examples.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from l2rw_tf.runs.epoch_record import EpochRecord


class BestEpoch(keras.callbacks.Callback):
    """Keeps the network of the epoch with the best accuracy, the first of equally good ones.

    Attributes:
        epoch: That epoch, counted from 0.
    """

    def __init__(self, network: keras.Model, record: EpochRecord, column: str) -> None:
        """Begins with no epoch.

        Args:
            network: The bare network.
            record: Has the row of an epoch before this is called.
            column: The accuracy in it that decides.
        """
        super().__init__()
        self.epoch = -1
        self._network = network
        self._record = record
        self._column = column
        self._accuracy = -1.0
        self._weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keeps the network if it is better."""
        accuracy = self._record.rows[-1].get(self._column, -1.0)
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
