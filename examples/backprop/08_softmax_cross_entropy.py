# %% [markdown]
# # 08 · Softmax and cross-entropy, why they belong together
#
# A classifier ends with one number $z_j$ for each class. Softmax makes probabilities of them, and
# cross-entropy measures the surprise at the true class, whose $t_j$ is 1:
#
# $$ p_j = \frac{e^{z_j}}{\sum_k e^{z_k}}, \qquad L = -\sum_j t_j \ln p_j $$
#
# **One at a time.** The loss first: $\partial L/\partial p_i = -t_i/p_i$. If the truth was thought
# unlikely, this explodes. Then softmax. By the quotient rule, with $\delta_{ij} = 1$ for $i = j$
# and 0 otherwise,
#
# $$ \frac{\partial p_i}{\partial z_j}
#    = \frac{e^{z_i}\,\delta_{ij}}{\sum_k e^{z_k}} - \frac{e^{z_i}\, e^{z_j}}{(\sum_k e^{z_k})^2}
#    = p_i\,(\delta_{ij} - p_j) $$
#
# This is a full matrix, and where a $p_i$ is small, its row vanishes.
#
# **Together.** Multiply, and the exploding $1/p_i$ cancels the vanishing $p_i$:
#
# $$ \frac{\partial L}{\partial z_j} = -\sum_i \frac{t_i}{p_i}\; p_i\,(\delta_{ij} - p_j)
#    = -t_j + p_j \sum_i t_i = p_j - t_j $$
#
# Just the error, between $-1$ and $1$, for however many classes. It is lesson 02 again.
#
# **Predict.** For $z = (2, 1, 0)$ the probabilities are $e^2, e, 1$ over their sum 11.107, that is
# $(0.665, 0.245, 0.090)$. If the third class is the truth, the gradient is
# $(0.665, 0.245, -0.910)$.

# %%
import numpy as np
from _lesson import check, show

import nnmed
from nnmed import functional as F
from nnmed.report.figure import BLUE, GREEN, GREY, ORANGE, frame, new_figure

# %% [markdown]
# ## By hand, and by autograd
#
# The two factors as NumPy arrays, and nnmed's `cross_entropy`, which takes $z$ and not $p$.

# %%
z = np.array([2.0, 1.0, 0.0])
t = np.array([0.0, 0.0, 1.0])
p = np.exp(z) / np.exp(z).sum()
jacobian = np.diag(p) - np.outer(p, p)
by_hand = (-t / p) @ jacobian

logits = nnmed.Tensor(z[None], requires_grad=True)
F.cross_entropy(logits, [2]).backward()
by_autograd = logits.grad.numpy()[0]
print(f"p               {p.round(4)}")
print(f"product by hand {by_hand.round(4)}")
print(f"autograd        {by_autograd.round(4)}")

# %% [markdown]
# ## Why not another loss?
#
# Take two classes, and let $m$ be the margin, the true class's $z$ minus the other's. Far to the
# left the network is wrong and sure of it. There the squared error $(1 - p)^2$ behind a softmax
# has nothing to cancel the vanishing slope, and learns nothing from its worst mistakes. The
# gradient of cross-entropy stays near 1.
#
# ## Why in one op?
#
# On paper $\infty \cdot 0$ cancels. In floats it is NaN. Let the network be wrong by a margin of
# $-m$ in float32, where $p \approx e^{-m}$:
#
# - $1/p$ overflows when $e^m$ passes the largest float32, $3.4 \cdot 10^{38}$;
# - $p$ itself becomes 0 below half the smallest one, $2^{-150}$, and then the loss is $-\ln 0$.
#
# **Predict.** One at a time, the *gradient* dies at $m = \ln(3.4 \cdot 10^{38}) = 88.7$, long
# before the loss shows anything: that becomes infinite at $m = 150 \ln 2 = 104.0$. Together
# nothing happens, as $L = \ln \sum_k e^{z_k - z_t}$ is computed with the largest exponent taken
# out (`CrossEntropy` in `nnmed/ops/cross_entropy.py`).


# %%
def measure(loss_of, margin):
    """Return loss and gradient by the true class's logit, in float32."""
    z = nnmed.Tensor(np.array([[-margin, 0.0]], np.float32), requires_grad=True)
    with np.errstate(all="ignore"):
        loss = loss_of(z)
        loss.backward()
    return loss.item(), z.grad.numpy()[0, 0]


def one_at_a_time(z):
    return -nnmed.log(F.softmax(z, 1)[0, 0])


def together(z):
    return F.cross_entropy(z, [0])


def squared(z):
    return (1 - F.softmax(z, 1)[0, 0]) ** 2


margins = np.arange(0, 130, 0.1)
apart = np.array([measure(one_at_a_time, m) for m in margins])
fused = np.array([measure(together, m) for m in margins])
gradient_dies = margins[np.isnan(apart[:, 1])].min()
loss_dies = margins[np.isinf(apart[:, 0])].min()
print(f"one at a time: first NaN gradient at {gradient_dies:.1f}, predicted 88.7")
print(f"one at a time: first infinite loss at {loss_dies:.1f}, predicted 104.0")
print(f"together, at 129.9: loss {fused[-1, 0]:.1f}, gradient {fused[-1, 1]:.1f}")

# %%
figure = new_figure(11, 4)
left, right = figure.subplots(1, 2)
m = np.linspace(-12, 6, 200)
sure = 1 / (1 + np.exp(-m))
left.semilogy(m, 1 / sure, ":", color=GREY, label="$1/p$, of the logarithm")
left.semilogy(m, sure * (1 - sure), "--", color=GREY, label="$p(1-p)$, of softmax")
left.semilogy(m, 1 - sure, color=BLUE, linewidth=2.5, label="their product: cross-entropy")
slopes = [abs(measure(squared, -each)[1]) for each in m]
left.semilogy(m, slopes, color=ORANGE, linewidth=2.5, label="squared error")
left.set(xlabel="margin $m$ (wrong and sure on the left)", title="slope by the true logit")
left.legend(fontsize=9)
right.plot(margins, fused[:, 0], color=BLUE, linewidth=5, alpha=0.35, label="loss, together")
right.plot(margins, apart[:, 0], color=ORANGE, label="loss, one at a time")
right.axvline(gradient_dies, color=GREEN, linestyle="--")
right.text(gradient_dies - 2, 8, "gradient\nis NaN\nfrom here", color=GREEN, ha="right")
right.axvline(loss_dies, color=GREY, linestyle="--")
right.text(loss_dies + 2, 8, "loss is\ninfinite\nfrom here", color=GREY)
right.set(xlabel="wrong by", title="the same in float32")
right.legend(fontsize=9)
for axes in (left, right):
    frame(axes)
show(figure, "08_together")

# %% [markdown]
# ## Check, and break
#
# Forget that the probabilities share one sum: then $\partial p_i/\partial z_j$ loses its second
# term, and only the true class is told anything.

# %%
check(
    "(-t / p) times softmax's Jacobian = the gradient by autograd",
    by_hand,
    by_autograd,
    change=("np.diag(p) - np.outer(p, p)", "np.diag(p)"),
)
