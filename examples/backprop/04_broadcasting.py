# %% [markdown]
# # 04 · Broadcasting and its sum
#
# A layer adds one bias to every case: $y = x + b$, with $x$ of shape $(4, 3)$ and $b$ of shape
# $(3,)$. NumPy repeats $b$ down the rows and says nothing. What is its gradient?
#
# Write the repetition as what it is, a linear map. Laid out in one column, the repeated bias is
# $B\,b$, where $B$ is a matrix of zeros and ones with one row for each element of $y$:
#
# $$ y_{ij} = x_{ij} + b_j = x_{ij} + \sum_k B_{(ij)\,k}\; b_k, \qquad
#    B_{(ij)\,k} = 1 \text{ if } j = k, \text{ else } 0 $$
#
# By the chain rule of lesson 01, $b_k$ collects from every element that used it:
#
# $$ \frac{\partial L}{\partial b_k}
#    = \sum_{i,j} \frac{\partial L}{\partial y_{ij}}\; B_{(ij)\,k}
#    = \sum_i \frac{\partial L}{\partial y_{ik}}, \qquad
#    \text{or} \quad \delta_b = B^\top \delta_y $$
#
# Forward repeats, backward sums. And the other way round: the gradient of a sum is repeated. The
# two are transposes of each other, and this is the whole secret of every linear op: **backward
# multiplies by the transposed matrix**. (In lesson 05 the matrix will be a convolution.)
#
# **Predict.** For the $\delta_y$ below, the gradient of $b$ is the sum of each column:
# $(1+0+2+1,\; 0+3-1+1,\; -2+1+0+2) = (4, 3, 1)$.

# %%
import warnings

import numpy as np
from _lesson import check, show

import nnmed
from nnmed import functional as F
from nnmed.report.figure import BLUE, GREY, ORANGE, frame, new_figure

x = np.arange(12.0).reshape(4, 3)
b = nnmed.Tensor(np.array([10.0, 20.0, 30.0]), requires_grad=True)
dy = np.array([[1.0, 0, -2], [0, 3, 1], [2, -1, 0], [1, 1, 2]])

# %% [markdown]
# ## The sum, in nnmed
#
# `+` takes operands of one shape only. What repeats is an op of its own, `BroadcastTo` in
# `nnmed/ops/shape.py`; its `backward` is `sum_to`. Every derivation therefore shows the hidden
# step.

# %%
y = x + b
y.backward(dy)
print(f"gradient of b: {b.grad.numpy()}")

# %% [markdown]
# ## The matrix and its transpose
#
# Here is $B$, built by repeating each column of the identity: twelve rows for twelve elements
# of $y$.

# %%
B = np.broadcast_to(np.eye(3), (4, 3, 3)).reshape(12, 3)
by_matrix = B.T @ dy.ravel()
print(f"B^T dy:        {by_matrix}")


# %%
def table(axes, array, title):
    """Draw an array as coloured cells with their numbers."""
    limit = 1.6 * np.abs(array).max()
    axes.imshow(array, cmap="RdBu_r", vmin=-limit, vmax=limit)
    for (i, j), value in np.ndenumerate(array):
        axes.text(j, i, f"{value:g}", ha="center", va="center", fontsize=10)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=10)


figure = new_figure(11, 4.6)
above, below = figure.subfigures(2, 1, height_ratios=[1.45, 1])
panels = above.subplots(1, 4)
table(panels[0], x, "$x$")
table(panels[1], np.tile(b.numpy(), (4, 1)), "$b$, repeated by forward")
table(panels[2], dy, r"$\delta_y$, arriving")
table(panels[3], by_matrix[None], r"$\delta_b$, summed by backward")
panels = below.subplots(1, 2, width_ratios=[1, 3])
panels[0].imshow(B, cmap="Greys", aspect="auto", vmax=1.5)
panels[0].set(xlabel="$k$", ylabel="$(i, j)$", xticks=[], yticks=[])
panels[0].set_title("$B$: repeats", fontsize=10)
panels[1].imshow(B.T, cmap="Greys", aspect="auto", vmax=1.5)
panels[1].set(xlabel="$(i, j)$", ylabel="$k$", xticks=[], yticks=[])
panels[1].set_title(r"$B^\top$: sums", fontsize=10)
show(figure, "04_broadcast")

# %% [markdown]
# ## The most expensive silent mistake
#
# A network returns predictions of shape $(n, 1)$; the targets were read as $(n,)$. The difference
# broadcasts to $(n, n)$: every prediction is compared with every target. No error, and the loss
# even falls. What does the network learn?
#
# $$ L = \frac{1}{n^2} \sum_{i,j} (p_i - t_j)^2, \qquad
#    \frac{\partial L}{\partial p_i} = \frac{2}{n^2} \sum_j (p_i - t_j) = \frac2n (p_i - \bar t) $$
#
# **Predict.** All predictions are pulled to one number, the mean of the targets. Here it is 2.5,
# whatever the case. nnmed computes it, as PyTorch does, but warns.


# %%
def descend(target):
    """Return how predictions move under gradient descent on the mean squared error."""
    prediction = nnmed.Tensor(np.zeros((6, 1)), requires_grad=True)
    path = [prediction.numpy().copy()]
    for _ in range(20):
        prediction.grad = None
        F.mse_loss(prediction, target).backward()
        prediction.data = prediction.numpy() - 0.5 * prediction.grad.numpy()
        path.append(prediction.numpy().copy())
    return np.array(path)[..., 0]


targets = np.arange(6.0)
right_path = descend(targets[:, None])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    wrong_path = descend(targets)
print(f"nnmed warns: {caught[0].message}")
print(f"shapes (6, 1) and (6, 1): {right_path[-1].round(3)}")
print(f"shapes (6, 1) and (6,):   {wrong_path[-1].round(3)}")

figure = new_figure(9, 3.5)
panels = figure.subplots(1, 2, sharey=True)
for axes, path, title in zip(panels, (right_path, wrong_path), ("$(n, 1)$", "$(n,)$")):
    axes.plot(path, color=BLUE, linewidth=1.5)
    axes.plot(np.full(6, 20.5), targets, "<", color=ORANGE, label="targets", clip_on=False)
    axes.set(xlabel="step", title=f"targets of shape {title}")
    axes.legend(loc="upper left", fontsize=9)
    frame(axes)
panels[1].axhline(2.5, color=GREY, linestyle=":")
panels[1].text(0, 2.55, "mean of the targets", color=GREY, va="bottom")
panels[0].set_ylabel("the six predictions")
show(figure, "04_silent_mistake")

# %% [markdown]
# ## Check, and break
#
# A mean in the place of the sum gives gradients that look right and are $n$ times too small.

# %%
check(
    "the transposed matrix times dy = the gradient by autograd",
    by_matrix,
    b.grad.numpy(),
    change=("B.T @ dy.ravel()", "B.T @ dy.ravel() / len(x)"),
)
