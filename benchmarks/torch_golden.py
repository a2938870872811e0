"""Golden values of u and w for the tests, computed by PyTorch with nested gradients.

    python -m venv /tmp/torch && /tmp/torch/bin/pip install torch numpy
    /tmp/torch/bin/python -m benchmarks.torch_golden

writes tests/reweighting/golden_torch.npz: theta, a batch, a clean batch, u and w, in float64. The
network is a perceptron with one hidden layer (tanh), the loss is softmax cross-entropy; kernels
have Keras's shape, (inputs, outputs). PyTorch 2.14.1 wrote the committed file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.func import functional_call
from torch.nn import functional

FILE = Path(__file__).parents[1] / "tests" / "reweighting" / "golden_torch.npz"
INPUTS, HIDDEN, CLASSES = 5, 7, 3
EXAMPLES, CLEAN_EXAMPLES = 12, 6


def meta_gradient(
    network: torch.nn.Module,
    batch: tuple[torch.Tensor, torch.Tensor],
    clean_batch: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """Returns u by equations 4 to 7 of the paper, with step size 1."""
    (x, y), (x_clean, y_clean) = batch, clean_batch
    theta = dict(network.named_parameters())
    epsilon = torch.zeros(len(y), dtype=x.dtype, requires_grad=True)
    losses = functional.cross_entropy(network(x), y, reduction="none")
    gradients = torch.autograd.grad(
        (epsilon * losses).sum(), list(theta.values()), create_graph=True
    )
    theta_hat = {
        name: parameter - gradient
        for (name, parameter), gradient in zip(theta.items(), gradients, strict=True)
    }
    outputs = functional_call(network, theta_hat, (x_clean,))
    clean_loss = functional.cross_entropy(outputs, y_clean)
    return -torch.autograd.grad(clean_loss, epsilon)[0]


def main() -> None:
    """Writes the file."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    network = torch.nn.Sequential(
        torch.nn.Linear(INPUTS, HIDDEN), torch.nn.Tanh(), torch.nn.Linear(HIDDEN, CLASSES)
    )
    batch, clean_batch = (
        (torch.randn(n, INPUTS), torch.randint(CLASSES, (n,))) for n in (EXAMPLES, CLEAN_EXAMPLES)
    )
    u = meta_gradient(network, batch, clean_batch)
    w = u.clamp_min(0) / u.clamp_min(0).sum()
    hidden, output = network[0], network[2]
    arrays = {
        "hidden_kernel": hidden.weight.T,
        "hidden_bias": hidden.bias,
        "output_kernel": output.weight.T,
        "output_bias": output.bias,
        "x": batch[0],
        "y": batch[1],
        "x_clean": clean_batch[0],
        "y_clean": clean_batch[1],
        "u": u,
        "w": w,
    }
    np.savez(FILE, **{name: array.detach().numpy() for name, array in arrays.items()})
    print(f"{FILE}: u {u.numpy().round(4)}, w {w.numpy().round(4)}, PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
