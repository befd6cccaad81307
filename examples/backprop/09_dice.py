# %% [markdown]
# # 09 · Dice and imbalance
#
# A lesion fills one pixel in a hundred. A network that answers "no lesion" everywhere is right in
# 99% of the pixels. Does the loss mind? Ask the gradient: who pulls how hard?
#
# **Cross-entropy** pulls each pixel's logit by $p - t$. Let all $p$ be equal, as at the start of
# training. The $n_1$ lesion pixels together pull up with $n_1 (1 - p)$, the $n_0$ others down with
# $n_0\, p$. Their ratio is
#
# $$ R_{CE} = \frac{n_1\,(1 - p)}{n_0\, p} $$
#
# **The Dice loss** looks at the overlap of the whole picture:
#
# $$ L = 1 - D, \qquad D = \frac{2 \sum_i p_i t_i}{\sum_i p_i + \sum_i t_i} = \frac{2I}{S} $$
#
# By the quotient rule, as $\partial I/\partial p_i = t_i$ and $\partial S/\partial p_i = 1$,
#
# $$ \frac{\partial L}{\partial p_i} = -\frac{2 t_i\, S - 2I}{S^2} = -\frac{2 t_i - D}{S} $$
#
# A lesion pixel pulls with $2 - D$, another with $D$. (Each is then times $p(1-p)$, the slope of
# the sigmoid, which cancels in the ratio.) With all $p$ equal, $D = 2 n_1 p/(n p + n_1)$, and
# after a line of algebra
#
# $$ R_{Dice} = \frac{n_1\,(2 - D)}{n_0\, D} = 1 + \frac{n_1}{n_0\, p} $$
#
# **Predict.** With $p = \frac12$ and 100 lesion pixels of 10000: $R_{CE} = 100/9900 = 0.0101$, and
# $R_{Dice} = 1 + 200/9900 = 1.0202$. In cross-entropy the background outweighs the lesion a
# hundredfold. In Dice both sides weigh the same, however small the lesion is.

# %%
import numpy as np
from _lesson import check, options, show

import nnmed
from nnmed import functional as F
from nnmed import nn, optim
from nnmed.report.figure import BLUE, GREY, ORANGE, SYNTHETIC, frame, new_figure

# %% [markdown]
# ## The pulls, measured
#
# `dice_loss` and its kin are in `nnmed/ops/segmentation_loss.py`, made of small ops. The derivation
# above is what their chain rule gives.


# %%
def cross_entropy(logits, mask):
    return F.binary_cross_entropy_with_logits(logits[:, 0], mask.astype(logits.dtype))


def dice(logits, mask):
    return F.dice_loss(logits, mask, smooth=1e-12)


def pull_ratio(loss, lesion):
    """Return how hard the lesion pixels pull, relative to the others, at p = 1/2."""
    mask = np.zeros((1, 100, 100), np.int64)
    mask.reshape(-1)[:lesion] = 1
    logits = nnmed.Tensor(np.zeros((1, 1, 100, 100)), requires_grad=True)
    loss(logits, mask).backward()
    pulls = np.abs(logits.grad.numpy()[:, 0])
    return pulls[mask == 1].sum() / pulls[mask == 0].sum()


print(f"cross-entropy {pull_ratio(cross_entropy, 100):.4f}, predicted 0.0101")
print(f"Dice          {pull_ratio(dice, 100):.4f}, predicted 1.0202")

sizes = np.array([1, 10, 100, 1000, 5000])
share = np.logspace(-4, np.log10(0.5), 50)
figure = new_figure(6.5, 4)
axes = figure.subplots()
axes.loglog(share, 1 + 2 * share / (1 - share), color=ORANGE, label="Dice, formula")
axes.loglog(share, share / (1 - share), color=BLUE, label="cross-entropy, formula")
axes.loglog(sizes / 1e4, [pull_ratio(dice, s) for s in sizes], "o", color=ORANGE)
axes.loglog(sizes / 1e4, [pull_ratio(cross_entropy, s) for s in sizes], "o", color=BLUE)
axes.set(xlabel="share of lesion pixels", ylabel="pull of lesion / pull of background")
axes.set_title("who pulls how hard (dots: autograd)")
axes.legend()
frame(axes)
show(figure, "09_pulls")

# %% [markdown]
# ## What it does to training
#
# Synthetic pictures: noise, with a faint disc that fills about 1.5% of the pixels. One small
# network learns them twice, with the two losses.

# %%
SIZE, COUNT = 48, 16
STEPS = 60 if options.quick else 200


def make_pictures(key):
    """Return pictures (COUNT, 1, SIZE, SIZE) and masks (COUNT, SIZE, SIZE)."""
    rng = np.random.default_rng(key)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    centre = rng.uniform(8, SIZE - 8, (2, COUNT, 1, 1))
    mask = np.hypot(rows - centre[0], columns - centre[1]) < rng.uniform(2.5, 4, (COUNT, 1, 1))
    noise = rng.standard_normal(mask.shape)
    return (noise + 1.0 * mask)[:, None].astype(np.float32), mask.astype(np.int64)


def train(loss):
    """Return a network that was trained with `loss`."""
    nnmed.seed(0)
    network = nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 1, 5, padding=2))
    optimizer = optim.Adam(network.parameters(), lr=0.02)
    pictures, masks = make_pictures(1)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(network(nnmed.Tensor(pictures)), masks).backward()
        optimizer.step()
    return network


def overlap(probabilities, masks, threshold):
    """Return the Dice score of all pictures together, at a threshold."""
    found = probabilities > threshold
    return 2 * (found & (masks == 1)).sum() / max(found.sum() + masks.sum(), 1)


test_pictures, test_masks = make_pictures(2)
maps = {}
for name, loss in (("cross-entropy", cross_entropy), ("Dice", dice)):
    network = train(loss)
    with nnmed.no_grad():
        maps[name] = F.sigmoid(network(nnmed.Tensor(test_pictures))).numpy()[:, 0]
    score = overlap(maps[name], test_masks, 0.5)
    sure = maps[name] > 0.9
    print(
        f"{name}: Dice score {score:.2f} at threshold 0.5; {sure.sum()} pixels have p > 0.9", end=""
    )
    print(f", {test_masks[sure].mean():.0%} of them lesion" if sure.any() else "")

# %% [markdown]
# ## Reading the result fairly
#
# With cross-entropy few pixels pass 0.5, and the score there is poor. But look at the right
# panel: at a threshold of 0.2 the same map scores three times as much. Cross-entropy was not
# blind. It said, with care, that a single noisy pixel is seldom lesion with more than 50%. Dice
# paints in black and white: better masks, but its numbers are no probabilities. Where it says
# 99%, a fifth is wrong.
#
# Hence the rule that a threshold is chosen on validation images, and never taken for granted
# (`nnmed/metrics/threshold.py`). And hence the usual compromise, the sum of both: `dice_ce_loss`.

# %%
figure = new_figure(12, 3)
panels = figure.subplots(1, 5, width_ratios=[1, 1, 1, 1, 1.35])
panels[0].imshow(test_pictures[0, 0], cmap="gray")
panels[1].imshow(test_masks[0], cmap="gray")
panels[2].imshow(maps["cross-entropy"][0], cmap="magma", vmin=0, vmax=1)
panels[3].imshow(maps["Dice"][0], cmap="magma", vmin=0, vmax=1)
titles = "test picture", "truth", "$p$, cross-entropy", "$p$, Dice"
for axes, title in zip(panels[:4], titles):
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=11)
thresholds = np.linspace(0.01, 0.99, 99)
for (name, p), colour in zip(maps.items(), (BLUE, ORANGE)):
    scores = [overlap(p, test_masks, threshold) for threshold in thresholds]
    panels[4].plot(thresholds, scores, color=colour, label=name)
panels[4].axvline(0.5, color=GREY, linestyle=":")
panels[4].set(xlabel="threshold", ylim=(0, 1))
panels[4].set_title("Dice score of 16 test pictures", fontsize=11)
panels[4].legend(fontsize=9)
frame(panels[4])
figure.supxlabel(SYNTHETIC, fontsize=9, color=GREY)
show(figure, "09_maps")

# %% [markdown]
# ## Check, and break
#
# The whole effect sits in the term $-D$ of the numerator, by which an overlap that is already there
# pushes the rest down. In numbers, for $p = \frac12$ and 100 of 10000 pixels:

# %%
D = 2 * 50 / (5000 + 100)
lesion_pull, other_pull = 2 - D, D
check(
    "ratio of the pulls by the formula = by autograd",
    100 * lesion_pull / (9900 * other_pull),
    pull_ratio(dice, 100),
    change=("/ (5000 + 100)", "/ (5000 + 0)"),
    tolerance=1e-9,
)
