"""Meta-Weight-Net: a small network, trained with the meta-gradient, maps each loss to a weight.

Shu, Xie, Yi, Zhao, Zhou, Xu and Meng, "Meta-Weight-Net: learning an explicit mapping for sample
weighting", NeurIPS 2019, arXiv 1902.07379.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.reweighting.replicas import all_finite, sum_over_replicas
from l2rw_tf.reweighting.weighting.weighting import Weighting
from l2rw_tf.reweighting.weights import normalize

# As in Shu et al.
_UNITS, _LEARNING_RATE = 100, 1e-3
# Adam's defaults.
_DECAYS, _EPSILON = (0.9, 0.999), 1e-7


@keras.saving.register_keras_serializable(package="l2rw_tf")
class MetaWeightNet(Weighting):
    """w_i = s_i V(ℓ_i; φ) / Σ_k s_k V(ℓ_k; φ), with V a network of one hidden layer.

    Each step first updates φ with Adam, then computes the weights. The gradient is that of the
    clean loss after the look-ahead step with these weights, −α Σ_i ∂w_i/∂φ ⟨∇ℓ_i, ∇L^v(θ̂)⟩
    (equation 7 of Shu et al.), except that the clean gradient is taken at θ, where it is v, instead
    of θ̂: the inner product is u_i, and both agree to first order in α. Weight decay on φ is
    omitted, and so is α, a factor of the gradient that Adam divides out.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Initializes φ so that the weights are nearly equal.

        Args:
            **kwargs: `name`, as of any `keras.Layer`.
        """
        super().__init__(**kwargs)
        random = np.random.default_rng(0)
        start = {
            "hidden_kernel": random.uniform(-1, 1, (1, _UNITS)),
            "hidden_bias": random.uniform(-1, 1, (_UNITS,)),
            "output_kernel": random.uniform(-1, 1, (_UNITS, 1)) / np.sqrt(_UNITS),
            "output_bias": np.zeros((1,)),
        }
        with self._scope():
            self.phi = [self._variable(name, value) for name, value in start.items()]
            self.moments = [
                [self._variable(f"{name}_moment{order}", np.zeros_like(value)) for order in (1, 2)]
                for name, value in start.items()
            ]
            self.updates = self._variable("updates", np.zeros(()))

    def _variable(self, name: str, value: np.ndarray) -> keras.Variable:
        return keras.Variable(value, dtype="float32", trainable=False, name=name)

    def value(self, losses: tf.Tensor) -> tf.Tensor:
        """Returns V(ℓ; φ) of each loss, (n,) float32, between 0 and 1."""
        return _value(losses, [variable.value for variable in self.phi])

    def learn(self, u: tf.Tensor, losses: tf.Tensor, sample_weight: tf.Tensor | None) -> None:
        """Takes a step of Adam on φ; see `Weighting.learn`."""
        losses = tf.stop_gradient(losses)
        ones = tf.ones_like(losses, tf.float32)
        s = ones if sample_weight is None else tf.cast(sample_weight, tf.float32)
        u = tf.cast(u, tf.float32)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            phi = [tf.convert_to_tensor(variable.value) for variable in self.phi]
            tape.watch(phi)
            values = _value(losses, phi)
        # ∂(Σ_k u_k w_k)/∂V_i = s_i (u_i − Σ_k w_k u_k) / Σ_k s_k V_k.
        total, aligned = sum_over_replicas(
            [tf.reduce_sum(s * values), tf.reduce_sum(s * values * u)]
        )
        mean = tf.math.divide_no_nan(aligned, total)
        slope = -tf.math.divide_no_nan(s * (u - mean), total)
        gradients = sum_over_replicas(tape.gradient(values, phi, output_gradients=slope))
        self._adam(gradients, all_finite(u))

    def weigh(self, u: tf.Tensor, losses: tf.Tensor, sample_weight: tf.Tensor | None) -> tf.Tensor:
        """Returns the weights of a batch; see `Weighting.weigh`."""
        values = self.value(tf.stop_gradient(losses))
        return normalize(tf.cast(values, u.dtype), sample_weight)

    def _adam(self, gradients: list[tf.Tensor], is_good: tf.Tensor) -> None:
        """Takes a step of Adam, unless u overflowed in half precision."""
        before = [tf.identity(one.value) for one in self._variables()]
        self.updates.assign_add(1.0)
        first_decay, second_decay = _DECAYS
        corrected = tf.sqrt(1 - second_decay**self.updates.value) / (
            1 - first_decay**self.updates.value
        )
        for phi, (first, second), gradient in zip(self.phi, self.moments, gradients, strict=True):
            first.assign(first_decay * first.value + (1 - first_decay) * gradient)
            second.assign(second_decay * second.value + (1 - second_decay) * gradient**2)
            step = _LEARNING_RATE * corrected * first.value
            phi.assign_sub(step / (tf.sqrt(second.value) + _EPSILON))
        for variable, value in zip(self._variables(), before, strict=True):
            variable.assign(tf.where(is_good, variable.value, value))

    def save_own_variables(self, store: Any) -> None:
        """Saves φ and Adam's state."""
        for variable in self._variables():
            store[variable.name] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Loads φ and Adam's state; a file of another weighting changes nothing."""
        for variable in self._variables():
            if variable.name in store.keys():
                variable.assign(store[variable.name])

    def _variables(self) -> list[keras.Variable]:
        return [*self.phi, *(one for pair in self.moments for one in pair), self.updates]


def _value(losses: tf.Tensor, phi: list[tf.Tensor]) -> tf.Tensor:
    hidden_kernel, hidden_bias, kernel, bias = phi
    column = tf.cast(losses, tf.float32)[:, None]
    hidden = tf.nn.relu(column @ hidden_kernel + hidden_bias)
    return tf.sigmoid(hidden @ kernel + bias)[:, 0]


WEIGHTING = MetaWeightNet
