// The page: which step and which run are shown, what is followed, and the controls.

const page = JSON.parse(document.getElementById("data").textContent);
const state = { number: 0, run: 0, followed: null };
const controls = Object.fromEntries(["previous", "next", "position", "find", "run", "theme", "language"]
  .map((id) => [id, document.getElementById(id)]));
if (page.runs[0].trail) state.followed = page.runs[0].trail;

// The run that is shown; the third is the difference of two.
function shownRun() {
  if (state.run < 2) return page.runs[state.run];
  const [a, b] = page.runs;
  const arrays = new Proxy(a.arrays, { get: (_, key) => difference(b.arrays[key], a.arrays[key]) });
  return { ...a, arrays, trail: a.trail && trailDifference(a.trail, b.trail) };
}

function go(number) {
  const count = page.runs[0].steps.length;
  state.number = Math.max(0, Math.min(count - 1, number));
  show();
  const step = page.runs[0].steps[state.number];
  document.getElementById("status").textContent =
    `${text("step", { number: state.number, last: count - 1 })}: ${step.op} ${step.layer || ""}`;
}

function follow(tensor, index, byKeyboard) {
  state.followed = sameCell(tensor, index) ? page.runs[0].trail : { tensor, index };
  const { scrollTop } = panel, chosen = document.activeElement?.dataset.key;
  show();
  panel.scrollTop = scrollTop;
  // With the pointer the arrow keys still go from step to step.
  if (chosen && byKeyboard) panel.querySelector(`[data-key="${chosen}"]`)?.focus({ preventScroll: true });
  document.getElementById("status").textContent = trail.querySelector("h3")?.firstChild.textContent || "";
}

// Whether the number whose way was worked out is meant: of rows that are not drawn, one cannot click.
function sameCell(tensor, index) {
  const run = page.runs[0], { trail } = run;
  if (!trail || trail.tensor !== tensor || trail.index.length !== index.length) return false;
  const { stride } = run.arrays[run.tensors[tensor].array];
  return trail.index.every((value, axis) => {
    const step = stride[axis - index.length + 2] ?? 1;
    return value === index[axis] || Math.floor(value / step) === Math.floor(index[axis] / step);
  });
}

function stopFollowing() {
  state.followed = null;
  show();
}

function show() {
  const run = shownRun(), { followed } = state;
  const regions = followed ? trailOf(run, followed.tensor, followed.index) : null;
  showStep(run, state.number, go, follow, regions);
  if (!followed) panel.prepend(hint(run));
  markChosen(state.number);
  markFollowed(regions, workedOut(run));
  labelNodes(run);
  showTrail(run, regions);
  controls.position.textContent = text("position", { number: state.number, last: run.steps.length - 1 });
  controls.find.value = state.number;
  controls.previous.disabled = state.number === 0;
  controls.next.disabled = state.number === run.steps.length - 1;
}

function hint(run) {
  return element("p", { className: "soft" }, text("hint"), " ", knownButton(run));
}

// Leads back to the number whose way was worked out.
function knownButton(run) {
  const known = run.trail;
  return known ? element("button", { type: "button", id: "follow",
    onclick: () => follow(known.tensor, known.index) }, text("follow", { place: placeText(run, known) })) : null;
}

// The number of an array at an index, or the nearest one that the page shows; of all channels a list.
function numbersAt(array, index) {
  if (!array) return [];
  const depth = array.places.length ? array.places.at(-1).length : 0;
  const [row, column] = array.axes.length === 2
    ? [Math.floor(index[depth] / array.stride[0]), Math.floor(index[depth + 1] / array.stride[1])]
    : [0, array.axes.length ? Math.floor(index[depth] / array.stride[1]) : 0];
  return array.places.flatMap((place, which) => {
    const isIt = !(array.norm && which === 0) &&
      place.every((value, axis) => index[axis] === ":" || value === index[axis]);
    return isIt ? [pictureOf(array, which).numbers[row * array.columns + column]] : [];
  });
}

function numberAt(array, index) {
  return numbersAt(array, index)[0] ?? null;
}

function showTexts() {
  document.documentElement.lang = language;
  for (const holder of document.querySelectorAll("[data-text]")) holder.textContent = text(holder.dataset.text);
  document.getElementById("title").textContent = page.title;
  document.getElementById("summary").textContent =
    page.summaries.map((summary) => summary[language]).join("  ·  ");
  controls.previous.textContent = text("previous");
  controls.next.textContent = text("next");
  document.getElementById("zoom-all").textContent = text("zoom_all");
  for (const [id, key] of [["zoom-in", "zoom_in"], ["zoom-out", "zoom_out"], ["zoom-all", "zoom_all"]]) {
    document.getElementById(id).setAttribute("aria-label", text(key));
    document.getElementById(id).title = text(key);
  }
  const options = (select, pairs) => {
    const value = select.value;
    select.replaceChildren(...pairs.map(([value, label]) => element("option", { value }, label)));
    if (pairs.some(([known]) => String(known) === value)) select.value = value;
  };
  options(controls.find, page.runs[0].steps.map((step, i) => [i, `${i}: ${step.op} ${step.layer || ""}`]));
  options(controls.theme, ["auto", "light", "dark"].map((name) => [name, text(name)]));
  options(controls.run, ["this", "other", "difference"].map((name, i) => [i, text(name)]));
  drawing.setAttribute("aria-label", text("graph"));
}

controls.previous.addEventListener("click", () => go(state.number - 1));
controls.next.addEventListener("click", () => go(state.number + 1));
controls.find.addEventListener("change", () => go(+controls.find.value));
controls.run.addEventListener("change", () => { state.run = +controls.run.value; show(); });
controls.theme.addEventListener("change", () => {
  if (controls.theme.value === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = controls.theme.value;
  show();
});
controls.language.addEventListener("change", () => {
  language = controls.language.value;
  showTexts();
  show();
});
document.addEventListener("keydown", (event) => {
  if (event.target.matches("select, input") || event.altKey || event.ctrlKey || event.metaKey) return;
  const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
  if (by) {
    event.preventDefault();
    go(state.number + by);
  } else if (event.key === "Escape") stopFollowing();
});

document.getElementById("run-choice").hidden = page.runs.length < 2;
controls.language.value = language;
prepareGraph(go);
showTexts();
showAll();
scaleGraph(Math.max(zoom, READABLE));
// With a trail the page begins where that does.
go(Math.max(0, ...Object.keys(page.runs[0].trail?.passages ?? {})));
