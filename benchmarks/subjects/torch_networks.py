"""PyTorch's side of a workload: the same networks, with nnmed's names and nnmed's weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.networks import CLASSES, Workload
from benchmarks.subjects.torch_ops import DEVICES, LAYOUTS


class DoubleConv(nn.Module):
    """As :class:`nnmed.models.double_conv.DoubleConv`."""

    def __init__(self, before, width):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class SmallCNN(nn.Module):
    """As :class:`nnmed.models.SmallCNN`."""

    def __init__(self, channels, classes, widths):
        super().__init__()
        pairs = zip([channels, *widths], widths)
        self.stages = nn.ModuleList(DoubleConv(before, after) for before, after in pairs)
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x):
        for index, stage in enumerate(self.stages):
            x = stage(F.max_pool2d(x, 2) if index else x)
        return self.fc(x.mean((2, 3)))


class BasicBlock(nn.Module):
    """As :class:`nnmed.models.BasicBlock`."""

    def __init__(self, before, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or before != width:
            conv = nn.Conv2d(before, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(width))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNet18(nn.Module):
    """As :func:`nnmed.models.resnet18`, of any width."""

    def __init__(self, channels, classes, width):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        widths = [width * 2**stage for stage in range(4)]
        for stage, (before, after) in enumerate(zip([width, *widths], widths), 1):
            blocks = BasicBlock(before, after, 2 if stage > 1 else 1), BasicBlock(after, after, 1)
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x):
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class Up(nn.Module):
    """As :class:`nnmed.models.unet.Up`."""

    def __init__(self, before, width):
        super().__init__()
        self.up = nn.ConvTranspose2d(before, width, 2, stride=2)
        self.conv = DoubleConv(2 * width, width)

    def forward(self, x, skipped):
        x = self.up(x)
        below, right = (s - n for s, n in zip(skipped.shape[2:], x.shape[2:]))
        return self.conv(torch.cat([skipped, F.pad(x, (0, right, 0, below))], 1))


class UNet(nn.Module):
    """As :class:`nnmed.models.UNet`."""

    def __init__(self, channels, classes, width, levels=4):
        super().__init__()
        widths = [width * 2**level for level in range(levels + 1)]
        downwards = zip([channels, *widths], widths[:-1])
        self.encoder = nn.ModuleList(DoubleConv(before, after) for before, after in downwards)
        self.bottleneck = DoubleConv(widths[-2], widths[-1])
        self.decoder = nn.ModuleList(Up(2 * n, n) for n in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        skipped = []
        for level in self.encoder:
            skipped.append(level(x))
            x = F.max_pool2d(skipped[-1], 2)
        x = self.bottleneck(x)
        for level in self.decoder:
            x = level(x, skipped.pop())
        return self.head(x)


TWINS = {
    "detector": lambda c, classes, width: SmallCNN(c, classes, (width, 2 * width, 4 * width)),
    "resnet18": ResNet18,
    "unet": UNet,
}


class TorchNetwork:
    """A network in PyTorch, as :class:`benchmarks.subjects.nnmed_networks.NnmedNetwork`.

    Parameters
    ----------
    workload : Workload
    layout : str
        "default" or "channels_last", of images and weights.
    state : dict from str to array, optional
        Weights and buffers to start with; they decide the dtype.
    device : str
        "cpu" or "gpu".
    """

    def __init__(
        self,
        workload: Workload,
        layout: str = "default",
        state: dict | None = None,
        device: str = "cpu",
    ):
        self.name, memory_format, device = layout, LAYOUTS[layout], DEVICES[device]
        self.model = TWINS[workload.network](workload.channels, CLASSES, workload.width)
        if state is not None:
            tensors = {name: torch.from_numpy(array.copy()) for name, array in state.items()}
            self.model.to(next(iter(tensors.values())).dtype).load_state_dict(tensors)
        self.model.to(device, memory_format=memory_format)
        images = torch.from_numpy(workload.images()).to(next(self.model.parameters()).dtype)
        self.images = images.to(device, memory_format=memory_format)
        self.labels = torch.from_numpy(workload.labels()).to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.steps = {"training": self.train, "inference": self.infer}

    def train(self) -> None:
        self.model.train()
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(self.images), self.labels).backward()
        self.optimizer.step()

    def infer(self):
        self.model.eval()
        with torch.no_grad():
            return self.model(self.images)

    def results(self) -> dict:
        """Return loss and gradients of a training step, and the scores of inference."""
        self.model.train()
        loss = F.cross_entropy(self.model(self.images), self.labels)
        parameters = dict(self.model.named_parameters())
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        results = {"loss": loss.detach().cpu().numpy()}
        for name, gradient in zip(parameters, gradients):
            results[f"gradient of {name}"] = gradient.cpu().numpy()
        return {**results, "scores": self.infer().cpu().numpy()}
