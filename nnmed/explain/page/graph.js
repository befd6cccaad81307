// The graph on the left: choose a node with the pointer or the keyboard, zoom, show what is followed.

const graphPane = document.getElementById("graph");
const drawing = graphPane.querySelector("svg");
const nodes = new Map();
let zoom = 1;
const READABLE = 0.6;

function prepareGraph(choose) {
  drawing.setAttribute("role", "group");
  for (const node of drawing.querySelectorAll(".node[data-order]")) {
    const number = numberOf(node.dataset.order);
    if (number === undefined) continue;
    nodes.set(number, node);
    node.setAttribute("tabindex", "0");
    node.setAttribute("role", "button");
    node.addEventListener("click", () => choose(number));
    node.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        choose(number);
      }
    });
  }
  document.getElementById("zoom-in").addEventListener("click", () => scaleGraph(zoom * 1.25));
  document.getElementById("zoom-out").addEventListener("click", () => scaleGraph(zoom / 1.25));
  document.getElementById("zoom-all").addEventListener("click", showAll);
}

function numberOf(order) {
  const number = page.runs[0].steps.findIndex((step) => String(step.order) === order);
  return number < 0 ? undefined : number;
}

function scaleGraph(to) {
  zoom = Math.max(0.05, Math.min(3, to));
  const { width, height } = drawing.viewBox.baseVal;
  drawing.setAttribute("width", width * zoom);
  drawing.setAttribute("height", height * zoom);
}

function showAll() {
  const { width, height } = drawing.viewBox.baseVal;
  graphPane.scrollTo(0, 0);
  scaleGraph(Math.min(1, graphPane.clientWidth / width, graphPane.clientHeight / height));
}

function markChosen(number) {
  for (const [other, node] of nodes) {
    node.classList.toggle("chosen", other === number);
    node.setAttribute("aria-pressed", other === number);
  }
  const node = nodes.get(number);
  if (!node) return;
  // Not scrollIntoView, which would move the window as well.
  const box = node.getBoundingClientRect(), pane = graphPane.getBoundingClientRect();
  graphPane.scrollBy(box.left + box.width / 2 - pane.left - pane.width / 2,
    box.top + box.height / 2 - pane.top - pane.height / 2);
}

function markFollowed(regions) {
  for (const [number, node] of nodes) {
    node.classList.toggle("followed", Boolean(regions?.has(page.runs[0].steps[number].output)));
  }
}

function labelNodes(run) {
  for (const [number, node] of nodes) {
    const step = run.steps[number];
    node.classList.toggle("failed", step.check?.verdict === "failed");
    node.setAttribute("aria-label", `${number}: ${step.op} ${step.layer || ""}`.trim());
  }
}
