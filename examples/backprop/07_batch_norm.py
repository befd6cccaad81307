# %% [markdown]
# # 07 · Batch-norm's gradient, derived
#
# Batch normalisation shifts and scales each channel so that its values in the batch have mean 0 and
# variance 1. For the $n$ values of one channel:
#
# $$ \mu = \frac1n \sum_i x_i, \qquad \sigma^2 = \frac1n \sum_i (x_i - \mu)^2, \qquad
#    \hat x_i = \frac{x_i - \mu}{s}, \qquad s = \sqrt{\sigma^2 + \epsilon} $$
#
# (A learnt scale and shift follow; they are as in lesson 04.) What makes its gradient interesting:
# $\mu$ and $s$ depend on *all* $x_i$. Moving one case moves every case's output. There are three
# ways from $x_i$ to the loss. Write $\delta_i$ for the gradient that arrives at $\hat x_i$.
#
# **1. Direct**, with $\mu$ and $s$ held fixed: $\;\delta_i / s$.
#
# **2. Through the mean.** $\partial \mu/\partial x_i = 1/n$, and every $\hat x_j$ has the slope
# $-1/s$ in $\mu$:
#
# $$ \frac1n \sum_j \delta_j \cdot \left(-\frac1s\right) = -\frac1s\, \overline{\delta} $$
#
# (Also $s$ contains $\mu$, but $\partial \sigma^2/\partial \mu = -\frac2n \sum_j (x_j - \mu) = 0$:
# the mean is where the variance is least.)
#
# **3. Through the scale.** $\partial s/\partial x_i = (x_i - \mu)/(n s) = \hat x_i/n$, and every
# $\hat x_j$ has the slope $-\hat x_j/s$ in $s$:
#
# $$ \frac{\hat x_i}{n} \sum_j \delta_j \cdot \left(-\frac{\hat x_j}{s}\right)
#    = -\frac1s\, \hat x_i\, \overline{\delta \hat x} $$
#
# The bars are means over the batch. Together:
#
# $$ \frac{\partial L}{\partial x_i}
#    = \frac1s \left( \delta_i - \overline{\delta} - \hat x_i\, \overline{\delta \hat x} \right) $$
#
# **Predict.** Two things can be read off without computing. Add a constant to all $x$, or stretch
# them, and $\hat x$ stays. So the loss has no slope in these two directions: the gradient sums to
# zero, and its product with $\hat x$ sums to nearly zero (but for $\epsilon$). And ten times larger
# $x$ give a ten times smaller gradient.

# %%
import numpy as np
from _lesson import check, show

import nnmed
from nnmed import functional as F
from nnmed.report.figure import BLUE, GREY, ORANGE, frame, new_figure

# %% [markdown]
# ## In numbers
#
# Six cases, one channel. The gradient that arrives is made up.

# %%
EPS = 1e-5
values = np.array([3.0, -1.0, 2.0, 6.0, 0.0, 2.0])
delta = np.array([1.0, 0.5, -1.0, 2.0, 0.3, 0.8])


def by_hand(x, dy):
    """Return the three ways, whose sum is dx."""
    scale = np.sqrt(x.var() + EPS)
    normal = (x - x.mean()) / scale
    direct = dy / scale
    mean_path = -np.full_like(dy, dy.mean()) / scale
    scale_path = -normal * np.mean(dy * normal) / scale
    return direct, mean_path, scale_path


def by_autograd(x, dy):
    """Return dx of nnmed's batch_norm."""
    tensor = nnmed.Tensor(x[:, None], requires_grad=True)
    y = F.batch_norm(tensor, None, None, training=True, eps=EPS)
    y.backward(dy[:, None])
    return tensor.grad.numpy()[:, 0]


ways = by_hand(values, delta)
dx = sum(ways)
normal = (values - values.mean()) / values.std()
print(f"sum of dx           {dx.sum():+.1e}")
print(f"sum of dx times x^  {(dx * normal).sum():+.1e}   (not quite 0: that is epsilon)")
ratio = by_autograd(values, delta) / by_autograd(10 * values, delta)
print(f"gradient of x over gradient of 10 x: {ratio.mean():.4f}")

# %% [markdown]
# In nnmed: `BatchNorm` in `nnmed/ops/normalization.py` has the formula twice, made of ops
# (`backward`, so that it can be differentiated again) and as a kernel (`fused_backward`;
# `nnmed/kernels/normalization/reference.py` is the page to read). In evaluation $\mu$ and
# $s$ are constants, and only the first way is left: `BatchNormInference`.

# %%
figure = new_figure(10.5, 3.3)
panels = figure.subplots(1, 4, sharey=True)
titles = "1. direct", "2. through the mean", "3. through the scale", "sum: the gradient"
for axes, bars, title in zip(panels, (*ways, dx), titles):
    axes.bar(range(1, 7), bars, color=ORANGE if bars is dx else BLUE)
    axes.axhline(0, color=GREY, linewidth=1)
    axes.set(xlabel="case", title=title, xticks=range(1, 7))
    frame(axes)
show(figure, "07_three_ways")

# %% [markdown]
# ## As geometry
#
# For three cases it can be drawn. $\hat x$ has mean 0, so it lies in the plane at a right angle
# to $(1, 1, 1)$; its variance is 1, so it lies on a circle of radius $\sqrt 3$ in that plane.
# Batch-norm pushes every $x$ onto this circle. The formula takes from $\delta$ what sticks out of
# the plane (the mean) and what points along the radius ($\hat x$). What is left is a **tangent of
# the circle**, the only way in which $\hat x$ can move.

# %%
plane = np.array([[1.0, -1.0, 0.0], [1.0, 1.0, -2.0]]) / np.sqrt([[2.0], [6.0]])


def arrow(axes, start, step, colour):
    style = {"arrowstyle": "-|>", "color": colour, "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", start + step, start, arrowprops=style)


figure = new_figure(5.6, 5.2)
axes = figure.subplots()
turn = np.linspace(0, 2 * np.pi, 200)
axes.plot(np.sqrt(3) * np.cos(turn), np.sqrt(3) * np.sin(turn), color=GREY)
for angle, outward, along in ((0.3, 0.9, 0.7), (1.9, -0.8, 0.9), (3.5, 0.6, -1.0), (5.1, 0.8, 0.2)):
    radius = np.array([np.cos(angle), np.sin(angle)])
    x = radius @ plane
    dy = (outward * radius + along * radius[::-1] * [-1, 1]) @ plane
    scale = np.sqrt(x.var() + EPS)
    start, tangent = plane @ x / scale, plane @ sum(by_hand(x, dy)) * scale
    arrow(axes, start, plane @ dy, BLUE)
    arrow(axes, start, tangent, ORANGE)
    axes.plot(*np.stack([start + plane @ dy, start + tangent]).T, ":", color=GREY)
    axes.plot(*np.stack([np.zeros(2), start]).T, ":", color=GREY, linewidth=1)
    axes.plot(*start, "o", color="black", markersize=5)
axes.plot([], [], color=BLUE, linewidth=2, label=r"$\delta$, in the plane")
axes.plot([], [], color=ORANGE, linewidth=2, label="what is left: tangents")
axes.plot([], [], "o", color="black", label=r"$\hat x$")
axes.set(aspect="equal", xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[])
axes.legend(loc="lower left", fontsize=9)
show(figure, "07_circle")

# %% [markdown]
# ## Check, and break
#
# Take $\mu$ and $s$ for constants, which they are not, and two of the three ways are lost.

# %%
check(
    "the three ways together = the gradient by autograd",
    dx,
    by_autograd(values, delta),
    change=("dx = sum(ways)", "dx = ways[0]"),
)
