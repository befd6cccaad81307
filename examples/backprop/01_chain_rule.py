# %% [markdown]
# # 01 · The chain rule on one number
#
# Backpropagation is the chain rule, arranged so that no work is done twice. All other lessons
# are this one with larger arrays. We take
#
# $$ L = x\,y + \sin x $$
#
# and ask: if $x$ grows a little, how much does $L$ grow?
#
# **Step 1: give every intermediate result a name.** Each line is then easy to differentiate:
#
# $$ a = x\,y, \qquad b = \sin x, \qquad L = a + b $$
#
# | line | local derivatives |
# |---|---|
# | $a = x\,y$ | $\partial a/\partial x = y$ and $\partial a/\partial y = x$ |
# | $b = \sin x$ | $\partial b/\partial x = \cos x$ |
# | $L = a + b$ | $\partial L/\partial a = 1$ and $\partial L/\partial b = 1$ |
#
# **Step 2: go back from** $L$. A value matters only through the lines that use it. So its
# gradient is a sum over its uses: the gradient of the result, times the local derivative.
# Here $x$ is used twice:
#
# $$ \frac{\partial L}{\partial x}
#    = \frac{\partial L}{\partial a}\,\frac{\partial a}{\partial x}
#    + \frac{\partial L}{\partial b}\,\frac{\partial b}{\partial x}
#    = 1 \cdot y + 1 \cdot \cos x $$
#
# **Predict.** At $x = 2$, $y = 3$ this is $3 + \cos 2 = 3 - 0.416 = 2.584$.

# %%
import math

import numpy as np
from _lesson import check, show
from matplotlib.patches import Rectangle

import nnmed
from nnmed.report.figure import BLUE, GREY, ORANGE, frame, new_figure

# %% [markdown]
# ## By hand
#
# Forward goes down the lines and keeps the values. Backward goes up the same lines. Every line
# of backward multiplies what arrived by a local derivative, and `+` joins the two uses of $x$.

# %%
x_value, y_value = 2.0, 3.0

# forward
a_value = x_value * y_value
b_value = math.sin(x_value)
L_value = a_value + b_value

# backward
dL_dL = 1.0
dL_da = dL_dL * 1
dL_db = dL_dL * 1
dL_dy = dL_da * x_value
dL_dx = dL_da * y_value + dL_db * math.cos(x_value)

print(f"L = {L_value:.6f}, dL/dx = {dL_dx:.6f}, dL/dy = {dL_dy:.6f}")

# %% [markdown]
# The picture has the values that forward computed in blue, and the gradients that backward
# computed in orange. The local derivatives stand on the edges.


# %%
WIDTH, HEIGHT = 0.46, 0.5  # of a box


def node(axes, place, name, value, gradient):
    """Draw one value of the graph: its name, its number and its gradient."""
    corner = (place[0] - WIDTH / 2, place[1] - HEIGHT / 2)
    axes.add_patch(Rectangle(corner, WIDTH, HEIGHT, fill=False, edgecolor=GREY))
    lines = (f"${name}$", "black"), (f"{value:.3f}", BLUE), (f"{gradient:.3f}", ORANGE)
    for shift, (text, colour) in zip((0.14, 0, -0.14), lines):
        axes.text(place[0], place[1] + shift, text, ha="center", va="center", color=colour)


def edge(axes, start, stop, derivative, shift):
    """Draw an arrow of forward, with the derivative that backward multiplies by."""
    start, stop = (start[0] + WIDTH / 2, start[1]), (stop[0] - WIDTH / 2, stop[1])
    style = {"arrowstyle": "-|>", "color": GREY, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", stop, start, arrowprops=style)
    middle = ((start[0] + stop[0]) / 2, (start[1] + stop[1]) / 2 + shift)
    axes.text(*middle, derivative, ha="center", va="center", fontsize=10, color=ORANGE)


places = {"y": (0, 0), "x": (0, 1), "a": (1, 0), "b": (1, 1), "L": (2, 0.5)}
figure = new_figure(8, 3.6)
axes = figure.subplots()
edge(axes, places["y"], places["a"], r"$\times\, x = 2$", -0.08)
edge(axes, places["x"], places["a"], r"$\times\, y = 3$", 0.26)
edge(axes, places["x"], places["b"], r"$\times\, \cos x = -0.416$", 0.08)
edge(axes, places["a"], places["L"], r"$\times\, 1$", -0.1)
edge(axes, places["b"], places["L"], r"$\times\, 1$", 0.1)
node(axes, places["x"], "x", x_value, dL_dx)
node(axes, places["y"], "y", y_value, dL_dy)
node(axes, places["a"], "a = xy", a_value, dL_da)
node(axes, places["b"], r"b = \sin x", b_value, dL_db)
node(axes, places["L"], "L = a + b", L_value, dL_dL)
axes.set(xlim=(-0.3, 2.3), ylim=(-0.35, 1.35))
axes.set_title("values (blue) go right, gradients (orange) go left", fontsize=11)
axes.axis("off")
show(figure, "01_graph")

# %% [markdown]
# ## By autograd
#
# nnmed does the same three things, and no more:
#
# - `Op.__call__` (`nnmed/autograd/op.py`) computes a line and notes who used whose result;
# - `Mul.backward`, `Sin.backward` and `Add.backward` (`nnmed/ops/elementwise.py`) multiply by
#   the local derivative;
# - `_Walk.deliver` (`nnmed/autograd/engine.py`) adds up the uses.
#
# Why backward, and not forward? One walk from $L$ gives the gradient by *every* input, of
# which a network has millions. A walk from $x$ would give the derivative by $x$ alone.

# %%
x = nnmed.Tensor(np.array(x_value), requires_grad=True)
y = nnmed.Tensor(np.array(y_value), requires_grad=True)
L = x * y + nnmed.sin(x)
L.backward()
print(f"L = {L:.6f}, dL/dx = {x.grad:.6f}, dL/dy = {y.grad:.6f}")

# %% [markdown]
# ## By a difference quotient
#
# A witness that knows no calculus: move $x$ by $\pm h$ and look at $L$. By Taylor's theorem
#
# $$ \frac{L(x+h) - L(x-h)}{2h} = L'(x) + \frac{h^2}{6} L'''(x) + \dots $$
#
# So a smaller $h$ is better, until rounding takes over: $L$ is known to about
# $\varepsilon\,|L|$ with $\varepsilon = 1.1 \cdot 10^{-16}$, and dividing by $h$ blows that up
# to $\varepsilon\,|L| / h$. With $L''' = -\cos x = 0.416$, the sum of the two errors is least at
#
# $$ h = \left( \frac{3\,\varepsilon\,|L|}{|L'''|} \right)^{1/3} $$
#
# **Predict.** $(3 \cdot 1.1 \cdot 10^{-16} \cdot 6.9 / 0.416)^{1/3} = 1.8 \cdot 10^{-5}$, where
# ten digits are right, and not more. `nnmed.gradcheck` lives in this valley, at $10^{-6}$.


# %%
def f(x):
    return x * y_value + math.sin(x)


steps = np.logspace(-13, 0, 105)
errors = [abs((f(x_value + h) - f(x_value - h)) / (2 * h) - dL_dx) for h in steps]
third = abs(math.cos(x_value))
rounding = np.finfo(float).eps / 2 * L_value
best = (3 * rounding / third) ** (1 / 3)
print(f"the best step is about {best:.1e}")

figure = new_figure(6.5, 4)
axes = figure.subplots()
axes.loglog(steps, np.maximum(errors, 1e-16), ".", color=BLUE, label="error of the quotient")
axes.loglog(steps, steps**2 / 6 * third, color=ORANGE, label=r"$h^2\,|L'''|/6$")
axes.loglog(steps, rounding / steps, "--", color=ORANGE, label=r"$\varepsilon\,|L|/h$")
axes.axvline(best, color=GREY, linewidth=1)
axes.text(best / 1.4, 1, f"predicted best $h$ = {best:.1e}", color=GREY, fontsize=9, ha="right")
axes.set(xlabel="step $h$", ylabel="error of $dL/dx$", ylim=(1e-16, 10))
axes.legend(loc="lower left", fontsize=9)
frame(axes)
show(figure, "01_v_curve")

# %% [markdown]
# ## The work, shown
#
# `nnmed.explain` writes this page for any loss: rules, numbers, and who added up what. (The
# graph of `L` was released by `backward`, so it takes a fresh one.)

# %%
print(nnmed.explain(x * y + nnmed.sin(x)))

# %% [markdown]
# ## Check, and break
#
# The classic mistake is to forget a path: the graph has two ways from $x$ to $L$.

# %%
check(
    "dL/dx by hand = dL/dx by autograd",
    dL_dx,
    x.grad.item(),
    change=("dL_da * y_value + dL_db * math.cos(x_value)", "dL_da * y_value"),
)
