# %% [markdown]
# # 06 · Max-pooling, ties, and where gradients go
#
# Max-pooling keeps the largest value of each window, $y_{ij} = \max_{u,v} x_{is+u,\,js+v}$. Move
# the largest value a little, and $y$ moves with it. Move another, and nothing happens. So the local
# derivative is 1 for the winner and 0 for all others: backward is a switchboard.
#
# $$ \frac{\partial L}{\partial x_{ab}}
#    = \sum_{(i,j)\,:\,(a,b) \text{ wins window } (i,j)} \frac{\partial L}{\partial y_{ij}} $$
#
# The sum is there because windows may overlap, and a pixel may win several.
#
# **Predict.** Take windows of 3 x 3, two pixels apart, on a picture of 7 x 7: nine windows. With
# $\delta_y = 1$ everywhere, the gradients of all pixels together are 9. The brightest pixel sits
# where four windows meet, and gets 4.

# %%
import numpy as np
from _lesson import check, show

import nnmed
from nnmed import functional as F
from nnmed.data.phantoms import make_phantom
from nnmed.report.figure import GREY, SYNTHETIC, new_figure

rng = np.random.default_rng(5)
image = (1.0 + rng.permutation(49)).reshape(7, 7)
image[2, 2] = 60  # rows 0-2 and 2-4 and columns 0-2 and 2-4 meet here


# %% [markdown]
# ## By hand
#
# Find the winner of each window, and hand it what arrives. nnmed notes the winner as a small
# integer in forward (`nnmed/kernels/pooling/reference.py` has the loops) and needs nothing else
# in backward: `MaxPool2d` in `nnmed/ops/pooling_ops.py` does not keep the picture.


# %%
def max_pool_backward(x, dy):
    """Return dx for windows of 3 x 3, two pixels apart."""
    dx = np.zeros_like(x)
    for i, j in np.ndindex(dy.shape):
        window = x[2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        u, v = np.unravel_index(window.argmax(), window.shape)
        dx[2 * i + u, 2 * j + v] += dy[i, j]
    return dx


dx_by_hand = max_pool_backward(image, np.ones((3, 3)))
print(f"sum of the gradients {dx_by_hand.sum():g}, of the brightest pixel {dx_by_hand[2, 2]:g}")


# %%
def gradient(function, image):
    """Return the gradient of the sum of ``function(image)`` by the image."""
    x = nnmed.Tensor(image[None, None], requires_grad=True)
    function(x).sum().backward()
    return x.grad.numpy()[0, 0]


by_max = gradient(lambda x: F.max_pool2d(x, 3, stride=2), image)
by_average = gradient(lambda x: F.avg_pool2d(x, 3, stride=2), image)

figure = new_figure(11, 4)
panels = figure.subplots(1, 3)
titles = "the picture", "gradient of max-pooling", "gradient of average pooling, times 9"
for axes, array, title in zip(panels, (image, by_max, 9 * by_average), titles):
    axes.imshow(array, cmap="Blues", vmax=array.max() * 1.6)
    for (a, b), value in np.ndenumerate(array):
        if round(value):
            axes.text(b, a, f"{value:.0f}", ha="center", va="center", fontsize=10)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=11)
show(figure, "06_switchboard")

# %% [markdown]
# ## Ties
#
# What if two values are largest? Let $f(a, b) = \max(a, b)$ at $a = b$. Raise $a$ and $f$ rises;
# lower $a$ and $f$ stays. The slope is 1 on one side and 0 on the other, so a derivative *does not
# exist*, and any number between is a subgradient. A framework must pick one, and the choice is
# a convention:
#
# | op | on a tie |
# |---|---|
# | `max_pool2d` | the first in reading order takes all |
# | `maximum(a, b)` | each takes half |
# | `relu(x)`, which is $\max(x, 0)$, at $x = 0$ | $x$ takes nothing |
#
# In floats a tie looks rare. In medical images it is not: the air around the patient is often one
# constant value.
#
# **Predict.** On a constant 4 x 4 picture, windows of 2 x 2: the upper left pixel of every window
# has 1. For `maximum` of two equal numbers: one half each. For `relu` at 0: zero.

# %%
print(gradient(lambda x: F.max_pool2d(x, 2), np.zeros((4, 4))))
a, b, zero = (nnmed.Tensor(np.array(0.0), requires_grad=True) for _ in range(3))
(nnmed.maximum(a, b) + F.relu(zero)).backward()
print(f"maximum: {a.grad.item()} and {b.grad.item()}; relu: {zero.grad.item()}")

# %% [markdown]
# ## Where gradients go in a network
#
# Each pooling by 2 x 2 lets one pixel of four through, so three of them let one of 64 through.
#
# **Predict.** Of a picture of 64 x 64, 4096 pixels, exactly 64 get a gradient after three
# max-poolings. After three average poolings all get 1/64. The sum is the same. That is why a map
# of the gradient of a network with max-pooling looks like pepper.


# %%
def three_times(pool):
    """Return a function that pools three times."""
    return lambda x: pool(pool(pool(x, 2), 2), 2)


pixels = make_phantom(1, label=1).pixels.astype(float)
radiograph = pixels.reshape(64, 3, 64, 3).mean(axis=(1, 3))
sparse = gradient(three_times(F.max_pool2d), radiograph)
dense = gradient(three_times(F.avg_pool2d), radiograph)
print(f"pixels with a gradient: max {np.count_nonzero(sparse)}, mean {np.count_nonzero(dense)}")
print(f"sum of the gradients:   max {sparse.sum():g}, mean {dense.sum():g}")

figure = new_figure(9, 3.6)
panels = figure.subplots(1, 3)
panels[0].imshow(radiograph, cmap="gray")
panels[1].imshow(sparse, cmap="Greys", vmax=0.8)
panels[2].imshow(dense, cmap="Greys", vmin=0, vmax=1 / 16)
for axes, title in zip(panels, ("the picture", "after 3 max-poolings", "after 3 average poolings")):
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=11)
figure.supxlabel(f"gradient of the sum of all outputs; {SYNTHETIC}", fontsize=9, color=GREY)
show(figure, "06_pepper")

# %% [markdown]
# ## Check, and break
#
# Write `=` for `+=`, and a pixel keeps only what its last window brought. With windows that do not
# overlap you would never notice.

# %%
check(
    "the switchboard by hand = the gradient by autograd",
    dx_by_hand,
    by_max,
    change=("2 * j + v] += dy[i, j]", "2 * j + v] = dy[i, j]"),
)
