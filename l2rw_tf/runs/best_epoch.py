"""Early stopping: restores the network of the best epoch when a training has ended.

Not `keras.callbacks.EarlyStopping`: it starts again with each `fit`, and a training calls `fit`
once per phase and once more after an interruption. It also restores all variables of the model;
here only the network is restored, never the record of the examples.
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
        """Sets up the callback.

        Args:
            network: The bare network.
            record: The record of the epochs; it must come before this callback in `callbacks`.
            column: The column of metrics.csv whose accuracy decides.
        """
        super().__init__()
        self.epoch = -1
        self._network = network
        self._record = record
        self._column = column
        self._accuracy = -1.0
        self._weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keeps a copy of the parameters if the accuracy is the best so far."""
        accuracy = self._record.rows[-1].get(self._column, -1.0)
        if accuracy > self._accuracy:
            self.epoch, self._accuracy = epoch, accuracy
            self._weights = self._network.get_weights()

    def state(self) -> dict[str, float]:
        """Returns the JSON part of the state for `resume`; `arrays` returns the parameters."""
        return {"epoch": self.epoch, "accuracy": self._accuracy}

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the network's parameters at the best epoch, by name."""
        return {f"{number:04}": value for number, value in enumerate(self._weights)}

    def resume(self, state: Mapping[str, float], arrays: Mapping[str, np.ndarray]) -> None:
        """Resumes from a saved state."""
        self.epoch, self._accuracy = state["epoch"], state["accuracy"]
        self._weights = [arrays[name] for name in sorted(arrays)]

    def restore(self) -> None:
        """Sets the network's parameters to those of the best epoch."""
        self._network.set_weights(self._weights)
