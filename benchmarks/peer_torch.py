"""The step in PyTorch: `python -m benchmarks.peer_torch NETWORK FORM CLEAN_BATCH START`.

FORM is one of `FORMS`; START is the file of parameters and batches that `benchmarks.peer_keras`
writes. Networks are functions of their parameters, in the order of Keras's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.autograd import forward_ad
from torch.nn import functional

from benchmarks.peer_process import serve

Parameters = Sequence[torch.Tensor]
# A moving mean and a moving variance for each batch normalization.
Moving = Sequence[torch.Tensor]


def lenet(parameters: Parameters, x: torch.Tensor, moving: Moving | None) -> torch.Tensor:
    """The project's LeNet; it has no batch normalization."""
    rest = iter(parameters)
    # Keras pads an even image below and on the right alone, 7x7 on all sides.
    for padding in (0, 0, 1):
        x = functional.relu(functional.conv2d(x, next(rest), next(rest), padding=2))
        x = functional.max_pool2d(x, 3, 2, padding, ceil_mode=not padding)
    # Keras flattens images with their channels last.
    x = functional.relu(functional.linear(x.permute(0, 2, 3, 1).flatten(1), next(rest), next(rest)))
    return functional.linear(x, next(rest), next(rest))


def resnet32(parameters: Parameters, x: torch.Tensor, moving: Moving | None) -> torch.Tensor:
    """The project's ResNet-32; without moving averages none are moved."""
    rest, averages = iter(parameters), iter(moving or ())

    def convolution(x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        if stride == 2:  # As Keras pads: below and on the right alone.
            x = functional.pad(x, (0, 1, 0, 1))
        x = functional.conv2d(x, next(rest), None, stride, padding=2 - stride)
        gamma, beta = next(rest), next(rest)
        mean, variance = next(averages, None), next(averages, None)
        return functional.batch_norm(x, mean, variance, gamma, beta, True, 0.1, 1e-5)

    x = functional.relu(convolution(x))
    for width in (16, 32, 64):
        for _ in range(5):
            more = width - x.shape[1]
            hidden = convolution(functional.relu(convolution(x, 2 if more else 1)))
            if more:
                x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, more // 2, more // 2))
            x = functional.relu(x + hidden)
    return functional.linear(x.mean((2, 3)), next(rest), next(rest))


NETWORKS = {"lenet": lenet, "resnet32": resnet32}


class Steps:
    """Steps on one batch, by SGD with momentum."""

    def __init__(self, network: str, form: str, clean: int, start: str) -> None:
        self._network, self._form = NETWORKS[network], FORMS[form]
        # The faster one of each, measured.
        channels_first = (network, form) == ("resnet32", "nested")
        self._layout = torch.contiguous_format if channels_first else torch.channels_last
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        with np.load(start) as file:
            arrays = {name: torch.from_numpy(file[name]) for name in file.files}
        number = sum(name.startswith("parameter") for name in arrays)
        self.parameters = [self._leaf(arrays[f"parameter{i}"]) for i in range(number)]
        gammas = self.parameters[1:-2:3] if network == "resnet32" else []
        self.moving = [
            torch.full_like(gamma.detach(), value) for gamma in gammas for value in (0.0, 1.0)
        ]
        self.batch = self._images(arrays["x"]), arrays["y"].to(self._device)
        x, y = arrays["x_clean"][:clean], arrays["y_clean"][:clean]
        self.clean_batch = self._images(x), y.to(self._device)
        self.checked = torch.empty(0)
        self._optimizer = torch.optim.SGD(self.parameters, 1e-3, momentum=0.9)

    def _leaf(self, array: torch.Tensor) -> torch.Tensor:
        """A parameter, from Keras's order of axes: inputs before outputs, in the middle or last."""
        order = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}[array.ndim]
        parameter = array.permute(order).contiguous().to(self._device)
        if parameter.ndim == 4:
            parameter = parameter.to(memory_format=self._layout)
        return parameter.requires_grad_()

    def _images(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 3, 1, 2).to(self._device).contiguous(memory_format=self._layout)

    def losses(self, parameters: Parameters, moving: Moving | None = None) -> torch.Tensor:
        """ℓ of the training batch."""
        x, y = self.batch
        logits = self._network(parameters, x, moving)
        return functional.cross_entropy(logits, y, reduction="none")

    def clean_loss(self, parameters: Parameters) -> torch.Tensor:
        """The mean loss of the clean batch."""
        x, y = self.clean_batch
        return functional.cross_entropy(self._network(parameters, x, None), y)

    def take(self, steps: int) -> None:
        for _ in range(steps):
            self.checked, losses, w = self._form(self)
            gradients = torch.autograd.grad(losses, self.parameters, w)
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = gradient
            self._optimizer.step()
        if self._device == "cuda":
            torch.cuda.synchronize()

    def check(self) -> Sequence[float]:
        self.take(1)
        return self.checked.tolist()

    def gpu_bytes(self) -> int | None:
        return torch.cuda.max_memory_allocated() if self._device == "cuda" else None


# What is checked, the losses (their graph still to be walked back) and the weights of these.
Form = Callable[[Steps], tuple[torch.Tensor, torch.Tensor, torch.Tensor]]


def plain(steps: Steps) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The mean of the losses."""
    losses = steps.losses(steps.parameters, steps.moving)
    return losses.detach(), losses, torch.full_like(losses, 1 / len(losses))


def nested(steps: Steps) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """u = ∂⟨g(ε), v⟩/∂ε, one pass for u and for the update."""
    v = torch.autograd.grad(steps.clean_loss(steps.parameters), steps.parameters)
    losses = steps.losses(steps.parameters, steps.moving)
    epsilon = torch.zeros_like(losses, requires_grad=True)
    g = torch.autograd.grad(losses, steps.parameters, epsilon, create_graph=True)
    (u,) = torch.autograd.grad(g, epsilon, v, retain_graph=True)
    return u, losses, _normalize(u)


def forward(steps: Steps) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """u is the tangent of the losses along v, which comes with the pass for the update."""
    v = torch.autograd.grad(steps.clean_loss(steps.parameters), steps.parameters)
    with forward_ad.dual_level():
        duals = [
            forward_ad.make_dual(theta, part)
            for theta, part in zip(steps.parameters, v, strict=True)
        ]
        losses, u = forward_ad.unpack_dual(steps.losses(duals, steps.moving))
    u = u.detach()
    return u, losses, _normalize(u)


def forward_apart(steps: Steps) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As `forward`, in a pass that keeps nothing: less memory for one forward pass more."""
    v = torch.autograd.grad(steps.clean_loss(steps.parameters), steps.parameters)
    with torch.no_grad(), forward_ad.dual_level():
        duals = [
            forward_ad.make_dual(theta.detach(), part)
            for theta, part in zip(steps.parameters, v, strict=True)
        ]
        _, u = forward_ad.unpack_dual(steps.losses(duals))
    return u, steps.losses(steps.parameters, steps.moving), _normalize(u)


FORMS = {
    "plain": plain,
    "nested": nested,
    "forward": forward,
    "forward_apart": forward_apart,
}


def _normalize(u: torch.Tensor) -> torch.Tensor:
    w = u.clamp_min(0)
    total = w.sum()
    return torch.where(total > 0, w / total, 0.0)


if __name__ == "__main__":
    network, form, clean, start = sys.argv[1:]
    serve(Steps(network, form, int(clean), start))
