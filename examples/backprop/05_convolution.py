# %% [markdown]
# # 05 · Convolution three ways, and why its gradient is a convolution
#
# A convolution slides a small window over the picture and takes a weighted sum at each place:
#
# $$ y_{ij} = \sum_{u,v} w_{uv}\; x_{i+u,\,j+v} $$
#
# (Strictly a correlation; the name stuck.) One formula, three ways to compute it, and one short
# proof about its gradient.

# %%
import numpy as np
from _lesson import check, show

import nnmed
from nnmed import functional as F
from nnmed.data.phantoms import make_phantom
from nnmed.kernels.conv.toom_cook import matrices
from nnmed.report.figure import GREY, SYNTHETIC, new_figure

pixels = make_phantom(1, label=1).pixels.astype(float)
image = (pixels / pixels.max()).reshape(64, 3, 64, 3).mean(axis=(1, 3))
kernel = np.array([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])  # Sobel: edges

# %% [markdown]
# ## One: loops
#
# The formula as it stands. nnmed has it as the page to read, for all channels and strides:
# `nnmed/kernels/conv/reference.py`.


# %%
def by_loops(x, w):
    """Return the convolution, one output at a time."""
    y = np.zeros((x.shape[0] - 2, x.shape[1] - 2))
    for i, j in np.ndindex(y.shape):
        y[i, j] = np.sum(w * x[i : i + 3, j : j + 3])
    return y


# %% [markdown]
# ## Two: im2col
#
# Copy the nine numbers of every window into a row of a long matrix. The whole convolution is then
# one product of this matrix with the kernel as a column. It does as many multiplications as the
# loops, but in the one operation that processors do best. This is `im2col.py`, beside it.


# %%
def by_im2col(x, w):
    """Return the convolution as one matrix product."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3))
    rows = windows.reshape(-1, 9)
    return (rows @ w.ravel()).reshape(windows.shape[:2])


# %% [markdown]
# ## Three: Winograd
#
# Two neighbouring outputs of a kernel with three taps need six multiplications:
#
# $$ y_0 = d_0 g_0 + d_1 g_1 + d_2 g_2, \qquad y_1 = d_1 g_0 + d_2 g_1 + d_3 g_2 $$
#
# They share four inputs, and that can be turned into a saving. Take the four products
#
# $$ p_0 = (d_0 - d_2)\, g_0, \quad p_1 = \tfrac{d_1 + d_2}{2} (g_0 + g_1 + g_2), \quad
#    p_2 = \tfrac{d_2 - d_1}{2} (g_0 - g_1 + g_2), \quad p_3 = (d_3 - d_1)\, g_2 $$
#
# Then $y_0 = p_0 + p_1 + p_2$ and $y_1 = p_1 - p_2 + p_3$. Try it: in $y_0$,
# $p_1 + p_2 = d_2\,(g_0 + g_2) + d_1\, g_1$, and $p_0$ turns $d_2\, g_0$ into $d_0\, g_0$.
# The sums of $g$ are made once for a whole picture, and the halves belong to them.
#
# In matrices $y = A^\top [(G g) \odot (B^\top d)]$, and in two dimensions, rows and columns alike,
# $Y = A^\top [(G g G^\top) \odot (B^\top d B)] A$.
#
# **Predict.** A tile of $4 \times 4$ inputs gives $2 \times 2$ outputs by 16 multiplications, where
# the loops take $4 \cdot 9 = 36$: a factor of 2.25. nnmed derives the three matrices in
# `toom_cook.py` and explains the rest at the top of `winograd.py`.

# %%
AT, G, BT = matrices([0, 1, -1])


def by_winograd(x, w):
    """Return the convolution by tiles of 2 x 2 outputs."""
    y = np.zeros((x.shape[0] - 2, x.shape[1] - 2))
    transformed = G @ w @ G.T
    for i in range(0, y.shape[0], 2):
        for j in range(0, y.shape[1], 2):
            tile = BT @ x[i : i + 4, j : j + 4] @ BT.T
            y[i : i + 2, j : j + 2] = AT @ (transformed * tile) @ AT.T
    return y


y = by_loops(image, kernel)
print(f"im2col differs from the loops by   {np.abs(by_im2col(image, kernel) - y).max():.1e}")
print(f"Winograd differs from the loops by {np.abs(by_winograd(image, kernel) - y).max():.1e}")
print(f"multiplications: loops {9 * y.size}, Winograd {16 * y.size // 4}")

# %% [markdown]
# ## The same three in nnmed
#
# `nnmed.use_kernels` swaps one for another at run time. In float32, with 32 channels, they differ
# by roundings: Winograd's detour through sums and differences costs it a part of a digit.

# %%
rng = np.random.default_rng(0)
x32 = nnmed.Tensor(rng.standard_normal((1, 32, 30, 30)).astype(np.float32))
w32 = nnmed.Tensor(rng.standard_normal((32, 32, 3, 3)).astype(np.float32))
results = {}
for form in ("reference", "im2col", "winograd"):
    with nnmed.use_kernels(conv=form):
        results[form] = F.conv2d(x32, w32).numpy()
for form in ("im2col", "winograd"):
    error = np.abs(results[form] - results["reference"]).max() / results["reference"].std()
    print(f"{form:9} error {error:.0e} standard deviations")

# %% [markdown]
# ## Why the gradient is a convolution
#
# In one dimension, $y_i = \sum_u w_u x_{i+u}$ is a linear map: $y = T x$, where row $i$ of $T$
# has the kernel beginning at column $i$. From lesson 04, backward multiplies by the transpose.
# Column $k$ of $T$ becomes row $k$ of $T^\top$:
#
# $$ \delta_{x,k} = \sum_i T_{ik}\, \delta_{y,i} = \sum_u w_u\, \delta_{y,\,k-u} $$
#
# That is a convolution again. Only the sign of $u$ has changed: it slides the *flipped* kernel
# over $\delta_y$, with zeros added around it, because a pixel at the border was seen by fewer
# windows. Look at the rows of $T^\top$ in the picture: they read $w_2, w_1, w_0$.
#
# The kernel's gradient is one too. Each tap was used at every place, so it sums over places,
# $\delta_{w,u} = \sum_i \delta_{y,i}\, x_{i+u}$: the picture, convolved with $\delta_y$ as a big
# kernel.
#
# So the family closes on itself, and in `nnmed/ops/conv.py` the gradient of `Conv` is made
# of the ops `ConvTranspose` and `ConvWeightGrad`, which can be differentiated again.

# %%
taps = np.array([1.0, 2.0, 3.0])
T = np.zeros((8, 10))
for i in range(8):
    T[i, i : i + 3] = taps


# %%
def matrix(axes, array, title):
    """Draw a matrix of taps, coloured and written out by which tap it is."""
    axes.imshow(array, cmap="Blues", vmax=5)
    for (i, j), value in np.ndenumerate(array):
        if value:
            axes.text(j, i, f"$w_{value - 1:.0f}$", ha="center", va="center", fontsize=10)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=11)


figure = new_figure(9, 4.4)
panels = figure.subplots(1, 2)
matrix(panels[0], T, "$T$: a row is the kernel, forward")
matrix(panels[1], T.T, r"$T^\top$: a row is the flipped kernel, backward")
show(figure, "05_transpose")

# %% [markdown]
# ## Seen on a picture
#
# The convolution finds vertical edges. Then suppose the loss were a single output pixel,
# $L = y_{30,40}$: its gradient by the picture is the kernel, stamped where the window lay. A loss
# that uses all pixels adds up such stamps.

# %%
x = nnmed.Tensor(image[None, None], requires_grad=True)
w = nnmed.Tensor(kernel[None, None], requires_grad=True)
single = F.conv2d(x, w)[0, 0, 30, 40]
(stamp,) = nnmed.grad(single, x)

figure = new_figure(11, 3.9)
panels = figure.subplots(1, 3)
panels[0].imshow(image, cmap="gray")
panels[0].set_title("$x$")
panels[1].imshow(y, cmap="RdBu_r", vmin=-1, vmax=1)
panels[1].plot(40, 30, "s", markersize=9, fillstyle="none", color="black")
panels[1].set_title("$y$, and the pixel (30, 40)")
panels[2].imshow(stamp.numpy()[0, 0, 26:38, 36:48], cmap="RdBu_r", vmin=-3, vmax=3)
for (i, j), value in np.ndenumerate(stamp.numpy()[0, 0, 26:38, 36:48]):
    if value or (4 <= i < 7 and 4 <= j < 7):
        panels[2].text(j, i, f"{value:g}", ha="center", va="center")
panels[2].set_title(r"$\partial y_{30,40} / \partial x$, enlarged")
for axes in panels:
    axes.set(xticks=[], yticks=[])
figure.supxlabel(SYNTHETIC, fontsize=9, color=GREY)
show(figure, "05_picture")

# %% [markdown]
# ## Check, and break
#
# For a loss of all pixels, $L = \frac12 \sum y^2$, so $\delta_y = y$. By hand: two rows of zeros
# around $\delta_y$, then the flipped kernel.

# %%
(0.5 * (F.conv2d(x, w) ** 2).sum()).backward()
flipped = kernel[::-1, ::-1]
dx_by_hand = by_loops(np.pad(y, 2), flipped)
check(
    "the convolution of dy with the flipped kernel = the gradient by autograd",
    dx_by_hand,
    x.grad.numpy()[0, 0],
    change=("kernel[::-1, ::-1]", "kernel"),
)
