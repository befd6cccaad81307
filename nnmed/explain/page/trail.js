// The trail below: where a followed number has an effect, and how much of its gradient passes there.

const trail = document.getElementById("trail");
const MOST_THROUGH = 2;  // entries that are named for a step

// The trail that was worked out, if it is that of the number which is followed.
function workedOut(run) {
  const { followed } = state, known = run.trail;
  const isIt = known && followed && known.tensor === followed.tensor && String(known.index) === String(followed.index);
  return isIt ? known : null;
}

// What one trail is more than another; the entries that most passes through are others in each.
function trailDifference(a, b) {
  const passages = Object.entries(a.passages).map(([number, { part }]) =>
    [number, { part: minus(b.passages[number].part, part), sources: [], entries: [] }]);
  return { ...a, value: minus(b.value, a.value), gradient: minus(b.gradient, a.gradient),
    passages: Object.fromEntries(passages) };
}

function minus(x, y) {
  return x === null || y === null ? null : x - y;
}

function placeText(run, { tensor, index }) {
  return `${run.tensors[tensor].name || tensor} [${index}]`;
}

function showTrail(run, regions) {
  trail.hidden = !regions;
  if (!regions) return trail.replaceChildren();
  const known = workedOut(run);
  const columns = known ? ["find", "region", "part", "sources", "through"] : ["find", "region"];
  const rows = run.steps.map((step, number) => [step, number])
    .filter(([step]) => regions.has(step.output)).reverse()
    .map(([step, number]) => trailRow(run, number, regions.get(step.output), known));
  trail.replaceChildren(
    element("h3", {}, text("trail", { name: placeText(run, state.followed) }), " ",
      element("button", { type: "button", id: "stop", onclick: stopFollowing }, text("stop")), " ",
      known ? null : knownButton(run)),
    element("p", {}, told(run, known)),
    element("p", { className: "soft" }, text(known ? "parts" : "no_parts")),
    element("table", {}, element("thead", {}, element("tr", {}, ...columns.map((key) =>
      element("th", { className: key === "part" ? "number" : "" }, text(key))))),
    element("tbody", {}, ...rows)));
  const here = trail.querySelector("tr.here");
  if (!here) return;
  trail.scrollTop += here.getBoundingClientRect().top - trail.getBoundingClientRect().top - trail.clientHeight / 2;
}

// What raising the number does to the loss.
function told(run, known) {
  const { tensor, index } = state.followed, about = run.tensors[tensor];
  const sum = (numbers) => numbers.length ? numbers.reduce((a, b) => a + b) : null;
  const values = numbersAt(run.arrays[about.array], index);
  const value = known ? known.value : values.length ? sum(values) / values.length : null;
  const gradient = known ? known.gradient : sum(numbersAt(run.arrays[about.gradient], index));
  const isMany = index.includes(":");
  const effect = gradient === null ? "" : state.run === 2 ? `${text("gradient")} ${format(gradient)}`
    : text("effect", { gradient: format(gradient) });
  return (isMany ? text("together") : "") + text(isMany ? "mean_value" : "value", { value: format(value) }) + effect;
}

function shareOf(part, known) {
  return known.gradient && part !== null && state.run < 2 ? ` (${(100 * part / known.gradient).toFixed(0)} %)` : "";
}

function trailRow(run, number, region, known) {
  const step = run.steps[number];
  const row = element("tr", { className: number === state.number ? "here" : "" },
    element("td", {}, element("button", { type: "button", className: "step", onclick: () => goFromTrail(number) },
      `${number}: ${step.op} ${step.layer || ""}`)),
    element("td", {}, regionText(region)));
  const passage = known?.passages[number];
  if (passage) {
    row.append(element("td", { className: "number" }, format(passage.part) + shareOf(passage.part, known)),
      element("td", {}, passage.sources.map(([source, part]) => (source === null
        ? placeText(run, known) : source) + shareOf(part, known)).join(", ")),
      element("td", {}, passage.entries.slice(0, MOST_THROUGH).map(through).join(";  ")));
  }
  return row;
}

// The entry rises by `change` h, and with it the loss by that times the gradient.
function through([place, change, gradient]) {
  const factor = gradient !== null && gradient < 0 ? `(${format(gradient)})` : format(gradient);
  const part = change === null || gradient === null ? null : change * gradient;
  return `y[${place}]: ${format(change)} · ${factor} = ${format(part)}`;
}

// The row is made anew: the keyboard stays in it.
function goFromTrail(number) {
  go(number);
  trail.querySelector("tr.here button")?.focus({ preventScroll: true });
}
