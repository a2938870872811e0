"""The same steps in PyTorch: `python -m benchmarks.torch_program NETWORK BATCH CLEAN_BATCH`.

The reweighted step is the look-ahead with nested gradients through `functional_call`. Each line on
standard input is a number of steps to take; the program answers with a line when they are done.
"""

from __future__ import annotations

import sys

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional


def lenet() -> nn.Module:
    """Returns a network with the layers of the project's LeNet."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, padding=1),
        nn.Conv2d(16, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, padding=1),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, padding=1),
        nn.Flatten(),
        nn.LazyLinear(100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.stride, self.more = stride, outputs - inputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        if self.more:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return functional.relu(hidden + x)


def resnet32() -> nn.Module:
    """Returns the ResNet-32 of He et al. 2015 for CIFAR, with shortcuts without parameters."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    width = 16
    for stage, outputs in enumerate((16, 32, 64)):
        for block in range(5):
            layers.append(_Block(width, outputs, 2 if stage and block == 0 else 1))
            width = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class Step:
    """Training steps, plain or reweighted, on one batch."""

    def __init__(self, name: str, batch: int, clean: int) -> None:
        torch.manual_seed(0)
        self.network = {"lenet": lenet, "resnet32": resnet32}[name]()
        shape = (1, 28, 28) if name == "lenet" else (3, 32, 32)
        self.x, self.y = torch.randn(batch, *shape), torch.randint(0, 10, (batch,))
        self.clean = self.x[:clean], self.y[:clean]
        self.network(self.x)
        self.optimizer = torch.optim.SGD(self.network.parameters(), 1e-3, momentum=0.9)

    def __call__(self) -> None:
        """Takes one step."""
        if not len(self.clean[1]):
            loss = functional.cross_entropy(self.network(self.x), self.y)
        else:
            losses = functional.cross_entropy(self.network(self.x), self.y, reduction="none")
            loss = (self._weights() * losses).sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _weights(self) -> torch.Tensor:
        parameters = dict(self.network.named_parameters())
        epsilon = torch.zeros(len(self.y), requires_grad=True)
        losses = functional.cross_entropy(self.network(self.x), self.y, reduction="none")
        gradients = torch.autograd.grad(
            (epsilon * losses).sum(), list(parameters.values()), create_graph=True
        )
        ahead = {
            name: parameter - gradient
            for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True)
        }
        x, y = self.clean
        clean_loss = functional.cross_entropy(functional_call(self.network, ahead, (x,)), y)
        u = -torch.autograd.grad(clean_loss, epsilon)[0]
        w = u.clamp_min(0)
        return (w / w.sum().clamp_min(1e-12)).detach()


def main() -> None:
    """Takes steps as requested on standard input."""
    name, batch, clean = sys.argv[1:]
    step = Step(name, int(batch), int(clean))
    for line in sys.stdin:
        for _ in range(int(line)):
            step()
        print("done", flush=True)


if __name__ == "__main__":
    main()
