# %% [markdown]
# # 12 · Second derivatives, and the curvature of a trained detector
#
# The gradient says which way is down. How far to go is a question of curvature. Along a direction
# $v$, Taylor's theorem says
#
# $$ L(w + s v) \approx L(w) + s\; g^\top v + \tfrac{s^2}{2}\; v^\top H v $$
#
# where $H$ is the Hessian, the matrix of all second derivatives. For a network with $N$ weights
# it has $N^2$ entries; nobody writes it down. But its *product with a vector* costs about three
# or four backward passes, whatever $N$ is. For a fixed $v$,
#
# $$ H v = \nabla_w \left( g(w)^\top v \right) $$
#
# because entry $i$ of the right side is
# $\sum_j v_j\, \partial g_j/\partial w_i = \sum_j H_{ij} v_j$ (Pearlmutter, 1994). So: take the
# gradient *as a graph*, multiply it by $v$, and take the gradient again. In nnmed every
# `backward` is itself made of ops, so this needs no new code: `create_graph=True` (`_Walk` in
# `nnmed/autograd/engine.py`).
#
# **The largest eigenvalue** $\lambda$ of $H$, in magnitude, is found by power iteration: multiply
# any vector by $H$ again and again, and its component along the top eigenvector $v$ outgrows all
# others.
#
# **Predict.** From lesson 10: along $v$ a step of gradient descent multiplies the distance by
# $1 - \eta\lambda$. With $\eta = 1.9/\lambda$ that is $-0.9$: back and forth, and shrinking. With
# $\eta = 2.1/\lambda$ it is $-1.1$, and growing. So near this point one number says which
# learning rates train.

# %%
import numpy as np
from _lesson import check, options, show

import nnmed
from nnmed import functional as F
from nnmed import nn, optim
from nnmed.data.phantoms import make_phantom
from nnmed.report.figure import BLUE, GREY, ORANGE, SYNTHETIC, frame, new_figure

# %% [markdown]
# ## A small detector
#
# Synthetic chest radiographs, half of them with a nodule, made coarse (32 x 32) so that training
# takes seconds. With so few and so coarse pictures it learns these, and would do poorly on
# others; here only the surface of its loss matters. SiLU and average pooling make the surface
# smooth. Everything is in float64.

# %%
COUNT, STEPS = (16, 60) if options.quick else (48, 200)


def picture(index):
    """Return one radiograph, (1, 32, 32), of mean 0 and standard deviation 1."""
    pixels = make_phantom(index, label=index % 2).pixels.astype(float)
    coarse = pixels.reshape(32, 6, 32, 6).mean(axis=(1, 3))
    return ((coarse - coarse.mean()) / coarse.std())[None]


images = nnmed.Tensor(np.stack([picture(index) for index in range(COUNT)]))
labels = np.arange(COUNT) % 2.0
nnmed.seed(0)
detector = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1),
    nn.SiLU(),
    nn.AvgPool2d(2),
    nn.Conv2d(8, 16, 3, padding=1),
    nn.SiLU(),
    nn.AvgPool2d(4),
    nn.Flatten(),
    nn.Linear(256, 1),
).double()
parameters = list(detector.parameters())


def loss():
    """Return the loss of all pictures."""
    return F.binary_cross_entropy_with_logits(detector(images)[:, 0], labels)


optimizer = optim.Adam(parameters, lr=0.003)
for _ in range(STEPS):
    optimizer.zero_grad()
    loss().backward()
    optimizer.step()
count = sum(p.numel() for p in parameters)
print(f"trained: loss {loss().item():.4f}, {count} weights; H would have {count**2} entries")

# %% [markdown]
# ## The product of the Hessian with a vector
#
# The two formulas from above are the two calls of `nnmed.grad`. A vector is a list of arrays, one
# for each parameter.


# %%
def dot(a, b):
    return sum((x * y).sum() for x, y in zip(a, b))


def hessian_times(v):
    """Return H v, as a list of arrays."""
    gradients = nnmed.grad(loss(), parameters, create_graph=True)
    slope = dot(gradients, v)
    return [h.numpy() for h in nnmed.grad(slope, parameters)]


def unit(v):
    """Return `v` at length 1."""
    return [x / np.sqrt(dot(v, v)) for x in v]


rng = np.random.default_rng(0)
random_direction = unit([rng.standard_normal(p.shape) for p in parameters])
top = random_direction
for _ in range(30):
    top = unit(hessian_times(top))
curvature = dot(top, hessian_times(top))
usual = dot(random_direction, hessian_times(random_direction))
print(f"largest curvature {curvature:.5g}, in a random direction {usual:.3g}")
print(f"gradient descent needs a rate below 2 / {curvature:.5g} = {2 / curvature:.3g}")

# %% [markdown]
# ## Seen along two directions
#
# The loss along the top eigenvector is a narrow valley, along a random direction a plain. That is
# typical: of all the directions a few are steep. The dashed parabolas are Taylor's formula
# with $g$ and $H v$, computed at the one point $s = 0$.


# %%
base = [p.numpy().copy() for p in parameters]


def move(direction, step):
    """Set the weights to the trained ones, plus `step` times the direction."""
    for parameter, start, d in zip(parameters, base, direction):
        parameter.data = start + step * d


def loss_at(direction, step):
    """Return the loss there, and bring the weights back."""
    move(direction, step)
    with nnmed.no_grad():
        value = loss().item()
    move(direction, 0.0)
    return value


def descend(rate):
    """Return the components along the top eigenvector while gradient descent runs."""
    start = nnmed.grad(loss(), parameters)
    move(top, 1e-4)
    components = []
    for _ in range(25):
        components.append(dot(top, [p.numpy() - b for p, b in zip(parameters, base)]))
        # The slope of the point that we stand on is taken off: what is left is curvature's.
        for parameter, g, g0 in zip(parameters, nnmed.grad(loss(), parameters), start):
            parameter.data = parameter.numpy() - rate * (g.numpy() - g0.numpy())
    move(top, 0.0)
    return np.array(components)


gradient = [g.numpy() for g in nnmed.grad(loss(), parameters)]
steps = np.linspace(-2, 2, 41) * np.sqrt(2 / curvature)
runs = {share: descend(share / curvature) for share in (1.9, 2.1)}
for share, components in runs.items():
    ratio = components[5] / components[4]
    print(f"rate {share} / lambda: factor a step {ratio:+.4f}, predicted {1 - share:+.1f}")

figure = new_figure(11, 4)
left, right = figure.subplots(1, 2)
for direction, bend, colour, name in (
    (top, curvature, ORANGE, "top eigenvector"),
    (random_direction, usual, BLUE, "random direction"),
):
    left.plot(steps, [loss_at(direction, s) for s in steps], color=colour, label=name)
    parabola = loss().item() + steps * dot(gradient, direction) + steps**2 / 2 * bend
    left.plot(steps, parabola, "--", color=colour, linewidth=1)
left.set(xlabel="step $s$ along the direction", title="loss (dashed: Taylor at 0)")
left.legend(fontsize=9)
for (share, components), colour in zip(runs.items(), (BLUE, ORANGE)):
    label = rf"rate ${share}/\lambda$"
    right.plot(components * 1e4, "o-", color=colour, markersize=4, linewidth=1, label=label)
right.axhline(0, color=GREY, linewidth=1)
right.set(xlabel="step", title="distance along the eigenvector, times 10000")
right.legend(fontsize=9, loc="upper left")
for axes in (left, right):
    frame(axes)
figure.supxlabel(SYNTHETIC, fontsize=9, color=GREY)
show(figure, "12_curvature")

# %% [markdown]
# ## Check, and break
#
# A witness that knows no second derivatives: three values of the loss along $v$,
#
# $$ v^\top H v \approx \frac{L(w + hv) - 2 L(w) + L(w - hv)}{h^2} $$
#
# Curvature belongs to a point. With a large $h$ the quotient looks at places where the valley has
# already left its parabola, as in the left picture above.

# %%
h = 2e-4
quotient = (loss_at(top, h) - 2 * loss_at(top, 0.0) + loss_at(top, -h)) / h**2
check(
    "curvature by two backward passes, over that by three values of the loss = 1",
    curvature / quotient,
    1.0,
    change=("h = 2e-4", "h = 5e-2"),
    tolerance=1e-4,
)
