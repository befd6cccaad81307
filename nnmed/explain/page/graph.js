// The graph on the left: choose a node with the pointer or the keyboard, zoom, show what is followed.

const graphPane = document.getElementById("graph");
const drawing = graphPane.querySelector("svg");
const nodes = new Map();
let zoom = 1;
const READABLE = 0.6;
const GOOD_PART = 0.1;

function prepareGraph(choose) {
  drawing.setAttribute("role", "group");
  for (const node of drawing.querySelectorAll(".node")) {
    const number = node.dataset.order ? numberOf(node.dataset.order) : firstUse(node);
    if (number === undefined) continue;
    if (node.dataset.order) {
      nodes.set(number, node);
      addNumber(node, number);
    }
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

// The step that uses a leaf first in forward: where a click on the leaf leads.
function firstUse(node) {
  const name = node.querySelector("text")?.textContent, { steps, tensors } = page.runs[0];
  const number = steps.findLastIndex((step) => step.inputs.some((input) =>
    tensors[input.tensor].step === null && tensors[input.tensor].name === name));
  return number < 0 ? undefined : number;
}

function addNumber(node, number) {
  const box = node.querySelector("rect"), label = box.ownerDocument.createElementNS(box.namespaceURI, "text");
  label.setAttribute("class", "number");
  label.setAttribute("x", +box.getAttribute("x") - 4);
  label.setAttribute("y", +box.getAttribute("y") + 12);
  label.textContent = number;
  node.append(label);
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

// Outlined is what a followed number reaches; if it is known, only where a good part passes.
function markFollowed(regions, known) {
  for (const [number, node] of nodes) {
    const isReached = Boolean(regions?.has(page.runs[0].steps[number].output));
    const part = known?.passages[number]?.part ?? 0;
    node.classList.toggle("followed", known ? Math.abs(part) >= GOOD_PART * Math.abs(known.gradient) : isReached);
  }
}

function labelNodes(run) {
  for (const [number, node] of nodes) {
    const step = run.steps[number];
    node.classList.toggle("failed", step.check?.verdict === "failed");
    node.setAttribute("aria-label", `${number}: ${step.op} ${step.layer || ""}`.trim());
  }
}
