# %% [markdown]
# # 10 · Optimizers racing on one surface
#
# Near a minimum every smooth loss looks like a bowl, $L = \frac12\, \theta^\top A\, \theta$:
# steep in some directions, flat in others. The steepest curvature $\lambda_1$ over the flattest
# $\lambda_2$ is the condition number $\kappa$. Here $\lambda_1 = 20$ and $\lambda_2 = 1$, so
# $\kappa = 20$, and the valley is turned by 30 degrees.
#
# **Gradient descent**, $\theta \leftarrow \theta - \eta A \theta$. Along an eigenvector of $A$ the
# gradient is $\lambda$ times the distance $d$, so one step gives
#
# $$ d \leftarrow (1 - \eta \lambda)\, d $$
#
# The steep direction must not explode, $|1 - 20\,\eta| < 1$, so $\eta < 2/20$; with so small a
# step, the flat one creeps. The best compromise makes both equally fast,
# $1 - \eta\lambda_2 = \eta\lambda_1 - 1$:
#
# $$ \eta = \frac{2}{\lambda_1 + \lambda_2}, \qquad
#    \text{factor a step} = \frac{\kappa - 1}{\kappa + 1} = \frac{19}{21} = 0.905 $$
#
# **Momentum** remembers its last step: $v \leftarrow \beta v + g$,
# $\theta \leftarrow \theta - \eta v$. Polyak (1964) showed that with the best $\eta$ and $\beta$
# the factor is
#
# $$ \frac{\sqrt\kappa - 1}{\sqrt\kappa + 1} = \frac{3.47}{5.47} = 0.634 $$
#
# **Predict.** To come a thousand times closer, gradient descent needs $\ln 1000/(-\ln 0.905) = 69$
# steps and momentum about $\ln 1000/(-\ln 0.634) = 15$, somewhat more as it overshoots first.
#
# **Adam** divides the gradient of each coordinate by its own typical size. In the very first step
# that is the gradient itself, $g/\sqrt{g^2} = \pm 1$. So whatever the surface, its first step is
# the learning rate in every coordinate: here $\pm 0.3$.

# %%
import numpy as np
from _lesson import check, show

import nnmed
from nnmed import optim
from nnmed.report.figure import BLUE, GREEN, GREY, ORANGE, PURPLE, frame, new_figure

# %% [markdown]
# ## The surface, and the runners
#
# The start is as far along the steep eigenvector as along the flat one. Each optimizer is one of
# `nnmed.optim` (SGD and Adam as loops: `nnmed/kernels/optimizer/reference.py`).

# %%
high, low = 20.0, 1.0
angle = np.pi / 6
flat = np.array([np.cos(angle), np.sin(angle)])
steep = np.array([-np.sin(angle), np.cos(angle)])
A = high * np.outer(steep, steep) + low * np.outer(flat, flat)
start = 2.0 * steep - 2.0 * flat
kappa = high / low

lr = 2 / (high + low)
polyak_lr = 4 / (np.sqrt(high) + np.sqrt(low)) ** 2
beta = ((np.sqrt(kappa) - 1) / (np.sqrt(kappa) + 1)) ** 2
runners = {
    "gradient descent": lambda p: optim.SGD(p, lr=lr),
    "momentum": lambda p: optim.SGD(p, lr=polyak_lr, momentum=beta),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.1),
    "Adam": lambda p: optim.Adam(p, lr=0.3),
}


def run(make_optimizer):
    """Return the places after 0, 1, ... 200 steps."""
    theta = nnmed.Tensor(start, requires_grad=True)
    optimizer = make_optimizer([theta])
    path = [start]
    for _ in range(200):
        optimizer.zero_grad()
        (0.5 * (theta * (nnmed.Tensor(A) @ theta)).sum()).backward()
        optimizer.step()
        path.append(theta.numpy().copy())
    return np.array(path)


paths = {name: run(make) for name, make in runners.items()}
distances = {name: np.linalg.norm(path, axis=1) for name, path in paths.items()}
for name, distance in distances.items():
    closer = np.flatnonzero(distance < distance[0] / 1000)
    print(f"{name:16} a thousand times closer after {closer[0] if closer.size else '>200'} steps")
print(f"Adam's first step: {(paths['Adam'][1] - start).round(4)}")

# %% [markdown]
# ## The race
#
# Gradient descent zigzags between the walls. Momentum averages the zigzag away and gathers speed
# along the valley. Adam and RMSprop do not zigzag; they scale each *coordinate*. But this valley
# lies across the coordinates, so they cannot undo its condition, and creep along the floor. On
# the right, straight lines mean a constant factor a step: the predicted one.

# %%
colours = dict(zip(runners, (BLUE, ORANGE, PURPLE, GREEN)))
figure = new_figure(12, 5.2)
left, right = figure.subfigures(1, 2, width_ratios=[1.35, 1])
grid = np.stack(np.meshgrid(np.linspace(-4.5, 3.5, 200), np.linspace(-4, 2.5, 200)), axis=-1)
height = 0.5 * np.einsum("...i,ij,...j", grid, A, grid)
for axes, (name, path) in zip(left.subplots(2, 2).flat, paths.items()):
    axes.contour(*np.moveaxis(grid, -1, 0), np.sqrt(height), 12, colors="#bbbbbb", linewidths=0.7)
    axes.plot(*path[:30].T, "o-", color=colours[name], markersize=3, linewidth=1.2)
    axes.plot(0, 0, "*", color="black", markersize=11)
    axes.set(aspect="equal", xlim=(-4.5, 3.5), ylim=(-4, 2.5), xticks=[], yticks=[])
    axes.set_title(f"{name}, 30 steps", fontsize=10)
axes = right.subplots()
for name, distance in distances.items():
    axes.semilogy(distance, color=colours[name], label=name)
for factor in ((kappa - 1) / (kappa + 1), np.sqrt(beta)):
    axes.semilogy(distances["Adam"][0] * factor ** np.arange(201), ":", color=GREY)
axes.semilogy([], [], ":", color=GREY, label="predicted factors")
axes.set(xlabel="step", title="distance from the minimum", ylim=(1e-7, 10))
axes.legend(fontsize=9)
frame(axes)
show(figure, "10_race")

# %% [markdown]
# ## What to take home
#
# The race is not fair, and none is: rates were tuned for this bowl. The lesson is in the factors.
# The curvature of the surface, not the length of the way, sets the pace. So whatever improves the
# condition (normalising the inputs, batch-norm, better initialisation; lesson 11) speeds up every
# optimizer, and lesson 12 measures the curvature of a real network.
#
# ## Check, and break
#
# With another learning rate the two directions shrink at different paces, and the slower one wins.

# %%
gd = distances["gradient descent"]
check(
    "distance of gradient descent, from one step to the next = (kappa - 1) / (kappa + 1)",
    gd[1:101] / gd[:100],
    np.full(100, (kappa - 1) / (kappa + 1)),
    change=("lr = 2 / (high + low)", "lr = 1 / high"),
    tolerance=1e-9,
)
