# %% [markdown]
# # 03 · Two layers by hand, then by autograd, the same digits
#
# A neuron draws a straight line. Two layers bend it:
#
# $$ A = X W_1 + b_1, \qquad H = \tanh A, \qquad z = H W_2 + b_2, \qquad p = \sigma(z) $$
#
# $X$ is $(n, 2)$, a case a row; $W_1$ is $(2, 8)$; $H$ is $(n, 8)$; $W_2$ is $(8, 1)$; $z$, $p$
# and the labels $t$ are $(n, 1)$. The loss $L$ is the mean cross-entropy.
#
# Write $\delta_v$ for $\partial L/\partial v$. It always has the shape of $v$. Going back:
#
# 1. **Loss.** From lesson 02, over the mean of $n$ cases: $\delta_z = (p - t)/n$.
# 2. **Second layer.** $z_i = \sum_k H_{ik} W_{2,k} + b_2$. The weight $W_{2,k}$ is used once in
#    every case, so its gradient is a sum over cases, $\sum_i H_{ik}\, \delta_{z,i}$. In
#    matrices:
#
# $$ \delta_{W_2} = H^\top \delta_z, \qquad \delta_{b_2} = \sum_i \delta_{z,i}, \qquad
#    \delta_H = \delta_z W_2^\top $$
#
# 3. **tanh**, element by element, has the slope $1 - \tanh^2$:
#    $\delta_A = \delta_H \odot (1 - H^2)$.
# 4. **First layer**, as the second: $\delta_{W_1} = X^\top \delta_A$ and
#    $\delta_{b_1} = \sum_i \delta_{A,i}$.
#
# If you forget which side the transpose is on: only one product of the two matrices has the shape
# of the weight.
#
# **Predict.** Start with $W_2 = 0$. Then the loss is $\ln 2 = 0.693$, and as
# $\delta_H = \delta_z W_2^\top = 0$, the gradient of the *first* layer is exactly zero: in the
# first step only the second layer learns.

# %%
import numpy as np
from _lesson import check, show

import nnmed
from nnmed import functional as F
from nnmed.report.figure import BLUE, GREY, ORANGE, frame, new_figure

# %% [markdown]
# ## Data
#
# Synthetic: the positive cases lie in a disc, the negative ones in a ring around it. No straight
# line parts them.

# %%
rng = np.random.default_rng(3)
t = np.repeat([[1.0], [0.0]], 120, axis=0)
radius = np.where(t == 1, rng.uniform(0, 1.1, t.shape), rng.uniform(1.3, 2.3, t.shape))
angle = rng.uniform(0, 2 * np.pi, t.shape)
x = np.hstack([radius * np.cos(angle), radius * np.sin(angle)])
n = len(x)
start = [rng.standard_normal((2, 8)), np.zeros(8), np.zeros((8, 1)), np.zeros(1)]

# %% [markdown]
# ## By hand
#
# Four lines forward, six lines back, in the order of the derivation.


# %%
def by_hand(w1, b1, w2, b2):
    """Return the loss and the gradients of the four parameters."""
    hidden = np.tanh(x @ w1 + b1)
    z = hidden @ w2 + b2
    p = 1 / (1 + np.exp(-z))
    loss = np.mean(np.logaddexp(0, z) - t * z)  # -t ln p - (1 - t) ln(1 - p), without overflow

    d_z = (p - t) / n
    d_w2, d_b2 = hidden.T @ d_z, d_z.sum(axis=0)
    d_hidden = d_z @ w2.T
    d_a = d_hidden * (1 - hidden**2)
    d_w1, d_b1 = x.T @ d_a, d_a.sum(axis=0)
    return loss, [d_w1, d_b1, d_w2, d_b2]


# %% [markdown]
# ## By autograd
#
# Only the forward lines remain. The rules of backward are `Linear` (`nnmed/ops/linalg.py`),
# `Tanh` (`nnmed/ops/activation.py`) and `BCEWithLogits`
# (`nnmed/ops/binary_cross_entropy.py`). `F.linear` takes the weight as PyTorch does, one row
# for each output, so it gets the transposes.


# %%
def forward(w1, b1, w2, b2):
    """Return the loss as the end of a graph."""
    hidden = F.tanh(F.linear(nnmed.Tensor(x), w1.T, b1))
    return F.binary_cross_entropy_with_logits(F.linear(hidden, w2.T, b2), t)


def by_autograd(*parameters):
    """Return the loss and the gradients of the four parameters."""
    tensors = [nnmed.Tensor(p, requires_grad=True) for p in parameters]
    loss = forward(*tensors)
    loss.backward()
    return loss.item(), [p.grad.numpy() for p in tensors]


loss, gradients = by_hand(*start)
print(f"first loss {loss:.6f}")
print(f"largest gradient of the first layer {np.abs(gradients[0]).max()}")
print(f"largest gradient of the second layer {np.abs(gradients[2]).max():.6f}")

# %% [markdown]
# ## Training both
#
# Gradient descent from the same start, 600 steps each.


# %%
def train(gradients_of):
    """Return the losses, and the parameters after each step."""
    parameters, losses, path = start, [], []
    for _ in range(600):
        loss, gradients = gradients_of(*parameters)
        parameters = [p - 1.0 * g for p, g in zip(parameters, gradients)]
        losses.append(loss)
        path.append(np.concatenate([p.ravel() for p in parameters]))
    return losses, np.array(path), parameters


hand_losses, hand_path, hand_end = train(by_hand)
auto_losses, auto_path, _ = train(by_autograd)
apart = np.abs(hand_path - auto_path).max(axis=1)
print(f"last losses {hand_losses[-1]:.15f} and {auto_losses[-1]:.15f}")

# %% [markdown]
# The curves lie on each other. The weights differ in the last digits only: the two add up in
# another order, and training makes a rounding of $10^{-16}$ grow slowly.

# %%
figure = new_figure(11, 3.7)
left, middle, right = figure.subplots(1, 3)
axis = np.linspace(-2.6, 2.6, 160)
grid = np.stack(np.meshgrid(axis, axis), axis=-1)
w1, b1, w2, b2 = hand_end
logits = (np.tanh(grid @ w1 + b1) @ w2 + b2)[..., 0]
left.contourf(axis, axis, 1 / (1 + np.exp(-logits)), 20, cmap="RdBu_r", alpha=0.5)
left.contour(axis, axis, logits, [0], colors="black")
inside = t[:, 0] == 1
left.plot(*x[inside].T, "^", color=ORANGE, markersize=3.5)
left.plot(*x[~inside].T, "o", color=BLUE, markersize=3.5)
left.set(aspect="equal", title="the boundary after 600 steps\n(synthetic data)")
middle.plot(hand_losses, color=ORANGE, linewidth=5, alpha=0.4, label="by hand")
middle.plot(auto_losses, "--", color=BLUE, label="by autograd")
middle.set(xlabel="step", ylabel="loss", title="one curve, twice")
middle.axhline(np.log(2), color=GREY, linestyle=":", linewidth=1)
middle.text(600, np.log(2), r"$\ln 2$", color=GREY, ha="right", va="bottom")
middle.legend()
right.semilogy(np.maximum(apart, 1e-17), color=BLUE)
right.set(xlabel="step", title="largest difference of a weight", ylim=(1e-17, 1e-8))
for axes in (middle, right):
    frame(axes)
show(figure, "03_two_layers")

# %% [markdown]
# ## The work, shown
#
# The derivation of one training step, with all eight tensors named, and each step checked on its
# own by difference quotients.

# %%
w1, b1, w2, b2 = [nnmed.Tensor(p, requires_grad=True) for p in hand_end]
loss = forward(w1, b1, w2, b2)
print(nnmed.explain(loss).verify())

# %% [markdown]
# ## Check, and break
#
# Leave out the slope of tanh, and training still works after a fashion. That is what makes such
# a mistake hard to see, and a check worth having.

# %%
check(
    "all weights after training by hand = by autograd",
    hand_path[-1],
    auto_path[-1],
    change=("d_hidden * (1 - hidden**2)", "d_hidden"),
    tolerance=1e-9,
)
