# %% [markdown]
# # 11 · Vanishing and exploding gradients
#
# A deep network multiplies by one weight matrix after the other. If each makes the signal a little
# smaller, then thirty of them make it nothing. How much is "each"?
#
# Take layers of width $n$ with ReLU, $a = W h$ and $h' = \max(a, 0)$, and independent random
# weights of mean 0 and variance $\sigma^2$.
#
# **Forward.** $a_i = \sum_j W_{ij} h_j$ is a sum of $n$ independent terms, so its variance is
# $n\,\sigma^2\, E[h^2]$. It is as often positive as negative, and ReLU drops the negative half:
#
# $$ E[h'^2] = \tfrac12\, n\, \sigma^2\; E[h^2] $$
#
# **Backward.** $\delta_h = W^\top (\delta_{h'} \odot [a > 0])$. Again a sum of $n$ terms, half of
# which are switched off:
#
# $$ E[\delta_h^2] = \tfrac12\, n\, \sigma^2\; E[\delta_{h'}^2] $$
#
# The same factor in both directions. So a gradient's norm changes by $\sqrt{n \sigma^2/2}$ a layer:
#
# | standard deviation $\sigma$ of the weights | factor a layer | over 30 layers |
# |---|---|---|
# | $1/\sqrt n$ | $\sqrt{1/2} = 0.707$ | $3 \cdot 10^{-5}$: vanishes |
# | $\sqrt{2/n}$, He et al. (2015) | $1$ | $1$ |
# | $2/\sqrt n$ | $\sqrt 2 = 1.414$ | $3 \cdot 10^{4}$: explodes |
#
# **Normalisation** before ReLU makes the scale of $W$ irrelevant: it divides by the standard
# deviation of $a$, which is $\sigma \sqrt{n\, E[h^2]}$. Backward is divided by the same number.
# After normalising, $E[h^2] = \frac12$, so the factor is
# $\sqrt{n \sigma^2/2}\,/\,\sqrt{n \sigma^2/2} = 1$.
#
# Batch-norm does a little more: it also takes out each unit's *mean over the batch*, to which the
# mean of $h$ contributes. What it divides by is only $\sigma \sqrt{n \operatorname{Var}[h]}$. For
# half a normal distribution, $\operatorname{Var}[h] = \frac12 - \frac{1}{2\pi}$, and so the
# factor is
#
# $$ \sqrt{\frac{1/2}{1/2 - 1/(2\pi)}} = \sqrt{\frac{\pi}{\pi - 1}} = 1.211 $$
#
# **Predict.** Batch-norm alone does not tame a deep network: going back, its gradients *grow* by
# 21% a layer, $1.211^{30} = 313$ (found by Yang et al., "A mean field theory of batch
# normalization", ICLR 2019). Networks with batch-norm are deep because they have residual
# connections as well.

# %%
import numpy as np
from _lesson import check, options, show

import nnmed
from nnmed import functional as F
from nnmed import optim
from nnmed.report.figure import BLUE, GREEN, GREY, ORANGE, PURPLE, frame, new_figure

WIDTH, DEPTH, BATCH = 128, 30, 128


# %% [markdown]
# ## Measured
#
# Thirty layers, random inputs, a random gradient at the end, and the norm of the gradient at each
# layer. `nnmed.grad` gives the gradients of anything in the graph, not of leaves alone.


# %%
def batch_norm(a):
    return F.batch_norm(a, None, None, training=True)


def layer_norm(a):
    return F.layer_norm(a, a.shape[1:])


def random_weights(sigma, inputs=WIDTH, seed=0):
    """Return the weights of thirty layers; `sigma` is meant for layers of n = WIDTH inputs."""
    rng = np.random.default_rng(seed)
    gain = sigma * np.sqrt(WIDTH)
    shapes = [(WIDTH, inputs), *[(WIDTH, WIDTH)] * (DEPTH - 1)]
    arrays = [gain / np.sqrt(shape[1]) * rng.standard_normal(shape) for shape in shapes]
    return [nnmed.Tensor(array, requires_grad=True) for array in arrays]


def forward(x, weights, normalise):
    """Return x, and h after each layer."""
    states = [nnmed.Tensor(x, requires_grad=True)]
    for weight in weights:
        a = F.linear(states[-1], weight)
        states.append(F.relu(a if normalise is None else normalise(a)))
    return states


def norms(sigma, normalise, seed=0):
    """Return the norm of the gradient at the input of each layer, relative to the end's."""
    x, end = np.random.default_rng(100 + seed).standard_normal((2, BATCH, WIDTH))
    states = forward(x, random_weights(sigma, seed=seed), normalise)
    gradients = nnmed.grad(states[-1], states[:-1], end)
    return np.sqrt([(g.numpy() ** 2).sum() / (end**2).sum() for g in gradients])


def factor(sigma, normalise):
    """Return the measured factor a layer: the mean over several networks of its logarithm."""
    firsts = [norms(sigma, normalise, seed)[0] for seed in range(10)]
    return np.exp(np.mean(np.log(firsts)) / DEPTH)


he = np.sqrt(2 / WIDTH)
narrow = 1 / np.sqrt(WIDTH)
cases = {
    "sigma = 2/sqrt(n)": (2 / np.sqrt(WIDTH), None, np.sqrt(2), ORANGE),
    "batch-norm": (he, batch_norm, np.sqrt(np.pi / (np.pi - 1)), PURPLE),
    "sigma = sqrt(2/n), He": (he, None, 1.0, BLUE),
    "layer-norm": (narrow, layer_norm, 1.0, "black"),
    "sigma = 1/sqrt(n)": (narrow, None, np.sqrt(0.5), GREEN),
}
print("factor a layer         predicted   measured")
for name, (sigma, normalise, predicted, _) in cases.items():
    print(f"{name:22} {predicted:9.3f}  {factor(sigma, normalise):9.3f}")

# %% [markdown]
# (Batch-norm measures a little less, as the first layer's input has no mean to take out.)
#
# He's rule is `init.kaiming_normal_` in `nnmed/nn/init.py`. What a layer draws by itself, in
# nnmed as in PyTorch, has $\sigma = 1/\sqrt{3n}$, a factor of $\sqrt{1/6} = 0.41$: good for a few
# layers, or with normalisation.
#
# ## The right size is not enough
#
# A gradient of the right size must still say how to part the cases. That they stay apart on the way
# forward is another matter. For two cases with the cosine $c$ between their $h$, a wide layer with
# ReLU gives (Cho and Saul, "Kernel methods for deep learning", NIPS 2009)
#
# $$ c' = \frac{\sqrt{1 - c^2} + c\,(\pi - \arccos c)}{\pi} $$
#
# which is greater than $c$ until $c = 1$, whatever $\sigma$ is: layer after layer all cases grow
# alike.
#
# **Predict.** Two cases at a right angle, $c = 0$, have $c = 1/\pi = 0.32$ after one layer and
# $0.97$ after thirty. Batch-norm alone resists. What all cases share is the mean over the batch,
# and it takes that out: the cosine is back at 0 before every ReLU, and $0.32$ behind it. It is
# the very subtraction that made its gradients grow. (Without normalisation $\sigma$ cancels in
# the cosine: in the picture the dots of these three lie on each other.)


# %%
def likeness(sigma, normalise):
    """Return the mean cosine between two cases, after each layer."""
    x = np.random.default_rng(1).standard_normal((BATCH, WIDTH))
    cosines = []
    for h in forward(x, random_weights(sigma), normalise):
        unit = h.numpy() / np.linalg.norm(h.numpy(), axis=1, keepdims=True)
        cosines.append(((unit @ unit.T).sum() - BATCH) / (BATCH * (BATCH - 1)))
    return cosines


predicted_likeness = [0.0]
for _ in range(DEPTH):
    c = predicted_likeness[-1]
    predicted_likeness.append((np.sqrt(1 - c**2) + c * (np.pi - np.arccos(c))) / np.pi)
cosines = {}
print(f"cosine after 1 and {DEPTH} layers")
print(f"predicted              {predicted_likeness[1]:.2f}  {predicted_likeness[-1]:.2f}")
for name, (sigma, normalise, _, _) in cases.items():
    cosines[name] = likeness(sigma, normalise)
    print(f"{name:22} {cosines[name][1]:.2f}  {cosines[name][-1]:.2f}")

# %% [markdown]
# ## What both do to training
#
# Thirty layers and plain gradient descent on one task (synthetic: a disc in a ring, as in lesson
# 03). With $\sigma = 1/\sqrt n$ nothing moves from $\ln 2$: no gradient arrives. He's network has
# gradients and still hardly learns, since its cases are alike. Batch-norm learns. (With
# $\sigma = 2/\sqrt n$ the second step overflows; it is left out.) Layer-norm looks at one case at
# a time, so it cannot part cases; networks that use it owe their depth to residual connections.


# %%
def train(sigma, normalise):
    """Return the losses of a network of thirty layers."""
    rng = np.random.default_rng(3)
    labels = np.repeat([1.0, 0.0], 60)
    radius = np.where(labels == 1, rng.uniform(0, 1.1, 120), rng.uniform(1.3, 2.3, 120))
    angle = rng.uniform(0, 2 * np.pi, 120)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    weights = random_weights(sigma, inputs=2)
    last = nnmed.Tensor(rng.standard_normal((1, WIDTH)) / np.sqrt(WIDTH), requires_grad=True)
    optimizer = optim.SGD([*weights, last], lr=0.1)
    losses = []
    for _ in range(10 if options.quick else 60):
        h = forward(x, weights, normalise)[-1]
        loss = F.binary_cross_entropy_with_logits(F.linear(h, last)[:, 0], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


figure = new_figure(13, 4.3)
left, middle, right = figure.subplots(1, 3)
layers = np.arange(1, DEPTH + 1)
for name, (sigma, normalise, predicted, colour) in cases.items():
    left.semilogy(layers, norms(sigma, normalise), "o", color=colour, markersize=4, label=name)
    left.semilogy(layers, predicted ** (DEPTH + 1.0 - layers), color=colour, linewidth=1)
    middle.plot(cosines[name], "o", color=colour, markersize=4)
    if sigma <= he:
        right.plot(train(sigma, normalise), color=colour, label=name)
middle.plot(predicted_likeness, color=GREY, linewidth=1)
left.set(
    xlabel="layer (backward comes from the right)", title="norm of the gradient", ylim=(1e-7, 1e5)
)
left.legend(fontsize=9)
middle.set(xlabel="after layer", title="cosine between two cases", ylim=(-0.05, 1.05))
right.set(xlabel="step", title="loss of 30 layers", ylim=(0, 0.9))
for axes in (left, middle, right):
    frame(axes)
figure.supxlabel("lines on the left and in the middle: predicted", fontsize=9, color=GREY)
show(figure, "11_depth")

# %% [markdown]
# ## Check, and break
#
# The factor is a mean over random networks, so a little tolerance is due. Take He's weights
# instead, and nothing vanishes.

# %%
check(
    "measured factor a layer = sqrt(1/2)",
    factor(narrow, None),
    np.sqrt(0.5),
    change=("narrow = 1 / np.sqrt(WIDTH)", "narrow = he"),
    tolerance=0.02,
)
