# %% [markdown]
# # 02 · A neuron and a decision boundary
#
# One neuron weighs its inputs, adds them up, and squashes the sum into a probability:
#
# $$ z = w \cdot x + b, \qquad p = \sigma(z) = \frac{1}{1 + e^{-z}} $$
#
# It says "tumour" where $p > \frac12$, that is where $z > 0$. The boundary $w \cdot x + b = 0$
# is a straight line, and $w$ stands at a right angle to it.
#
# **The loss** of one case with label $t \in \{0, 1\}$ is the surprise at the truth,
# $\ell = -t \ln p - (1 - t) \ln (1 - p)$. Its derivative, in two plain steps:
#
# $$ \frac{d\ell}{dp} = -\frac{t}{p} + \frac{1-t}{1-p} = \frac{p - t}{p\,(1-p)}, \qquad
#    \frac{dp}{dz} = p\,(1-p) $$
#
# The product is wonderfully short: $d\ell/dz = p - t$, the error itself. And since
# $\partial z/\partial w = x$, the mean loss $L$ of $n$ cases has
#
# $$ \frac{\partial L}{\partial w} = \frac1n \sum_i (p_i - t_i)\, x_i, \qquad
#    \frac{\partial L}{\partial b} = \frac1n \sum_i (p_i - t_i) $$
#
# **Predict.** Start with $w = 0$, $b = 0$. Then $p = \frac12$ for everyone, so the loss is
# $\ln 2 = 0.693$. With as many tumours ($p - t = -\frac12$) as others ($+\frac12$),
#
# $$ \frac{\partial L}{\partial w} = -\frac14 \left( \bar x_1 - \bar x_0 \right) $$
#
# where $\bar x_1$ and $\bar x_0$ are the means of the two classes. So the first step of gradient
# descent turns $w$ into the direction from one mean to the other.

# %%
import numpy as np
from _lesson import check, show

import nnmed
from nnmed import functional as F
from nnmed import optim
from nnmed.report.figure import BLUE, GREEN, GREY, ORANGE, frame, new_figure

# %% [markdown]
# ## Data
#
# Two measurements of 200 lesions, say size and irregularity. They are synthetic: drawn from two
# normal distributions that are stretched along a diagonal.

# %%
rng = np.random.default_rng(1)
stretch = np.array([[1.0, 0.8], [0.0, 0.5]])
benign = rng.standard_normal((100, 2)) @ stretch + [-0.8, 0.6]
tumour = rng.standard_normal((100, 2)) @ stretch + [0.8, 0.4]
x = np.concatenate([benign, tumour])
t = np.repeat([0.0, 1.0], 100)

# %% [markdown]
# ## Training
#
# `binary_cross_entropy_with_logits` is $\sigma$ and the loss in one; its `backward`
# (`BCEWithLogits` in `nnmed/ops/binary_cross_entropy.py`) is the $p - t$ from above. The sum
# over the cases comes from the matrix product, `MatMul` in `nnmed/ops/linalg.py`.

# %%
w = nnmed.Tensor(np.zeros(2), requires_grad=True)
b = nnmed.Tensor(np.zeros(()), requires_grad=True)
optimizer = optim.SGD([w, b], lr=1.0)

losses, gradients, states = [], [], []
for _ in range(301):
    z = nnmed.Tensor(x) @ w + b
    loss = F.binary_cross_entropy_with_logits(z, t)
    optimizer.zero_grad()
    loss.backward()
    losses.append(loss.item())
    gradients.append(w.grad.numpy().copy())
    states.append((w.numpy().copy(), b.item()))
    optimizer.step()

print(f"first loss {losses[0]:.6f}, last loss {losses[-1]:.6f}")
print(f"first gradient {gradients[0]}")

# %% [markdown]
# ## What happened
#
# After one step the boundary is at a right angle to the line between the two means (dotted). That
# would be the end if both classes were round. They are not, so the errors that are left, $p - t$
# near the boundary, go on turning it. Meanwhile $w$ grows: the neuron becomes surer, and the
# band in which it hesitates (pale) narrows.


# %%
def boundary(axes, state, **style):
    """Draw the line w.x + b = 0."""
    (w1, w2), bias = state
    across = np.array([-4.0, 4.0])
    axes.plot(across, -(w1 * across + bias) / w2, **style)


figure = new_figure(9.5, 4)
left, right = figure.subplots(1, 2, width_ratios=[1.35, 1])
grid = np.stack(np.meshgrid(np.linspace(-4, 4, 200), np.linspace(-2.5, 3.5, 150)), axis=-1)
weights, bias = states[-1]
p = 1 / (1 + np.exp(-(grid @ weights + bias)))
left.imshow(p, extent=(-4, 4, -2.5, 3.5), origin="lower", cmap="RdBu_r", alpha=0.35)
left.plot(*benign.T, "o", color=BLUE, markersize=4, label="benign")
left.plot(*tumour.T, "^", color=ORANGE, markersize=4, label="tumour")
left.plot(*np.stack([benign.mean(0), tumour.mean(0)]).T, ":", color="black", linewidth=2)
boundary(left, states[1], color=GREY, linestyle="--", label="after 1 step")
boundary(left, states[10], color=GREEN, linestyle="-.", label="after 10 steps")
boundary(left, states[-1], color="black", label="after 300 steps")
left.set(xlim=(-4, 4), ylim=(-2.5, 3.5), xlabel="size", ylabel="irregularity")
left.set_title("the boundary turns (synthetic data)")
left.legend(fontsize=8, loc="lower right")
right.semilogx(np.arange(1, 302), losses, color=BLUE)
right.axhline(np.log(2), color=GREY, linestyle=":")
right.text(20, np.log(2) + 0.005, r"predicted first loss, $\ln 2$", color=GREY, va="bottom")
right.set(xlabel="step", ylabel="loss", ylim=(0, 0.8), title="the loss falls")
frame(right)
show(figure, "02_boundary")

# %% [markdown]
# ## Check, and break
#
# The prediction holds because every $p$ is $\frac12$ at the start. Begin elsewhere, and it does
# not.

# %%
check(
    "the first gradient = -(difference of the class means) / 4",
    gradients[0],
    -(tumour.mean(0) - benign.mean(0)) / 4,
    change=("w = nnmed.Tensor(np.zeros(2)", "w = nnmed.Tensor(np.ones(2)"),
)
