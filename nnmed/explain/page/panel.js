// The panel on the right: everything about one step.

const panel = document.getElementById("step");

function showStep(run, number, go, follow, regions) {
  const step = run.steps[number];
  figuresOf.clear();
  panel.replaceChildren(
    heading(run, step, number),
    ...formulas(step),
    ...section("into", arraysOf(step.inputs.map((input) => [input.tensor, inputName(run, input)]), run)),
    ...section("out", arraysOf([[step.output, "y"]], run)),
    ...section("down", [gradientFigure(run, step.gradient, step.output, "∂L/∂y")],
      step.from.length > 1 ? summed(step, go) : null),
    ...section("up", step.inputs.filter((input) => input.gradient).map((input) =>
      gradientFigure(run, input.gradient, input.tensor, `∂L/∂${input.name}${byThisPath(run, input)}`))),
    ...sources(run, step, go),
    ...numbersPutIn(step),
    ...kept(step),
    ...code(step),
  );
  panel.scrollTop = 0;

  function arraysOf(pairs, run) {
    return pairs.map(([tensor, name]) => arrayFigure(run.arrays[run.tensors[tensor].array],
      { name, key: tensor, tensor }, follow, regions?.has(tensor) ? regions.get(tensor) : undefined));
  }
  function gradientFigure(run, key, tensor, name) {
    return arrayFigure(run.arrays[key], { name, key: tensor, tensor }, follow,
      regions?.has(tensor) ? regions.get(tensor) : undefined);
  }
}

// From which steps the gradients come that are added up.
function summed(step, go) {
  const buttons = step.from.map((number) => element("button",
    { type: "button", className: "step", onclick: () => go(number) }, text("from_step", { number })));
  return element("p", {}, text("summed", { count: step.from.length }), " ", ...buttons);
}

// What a tensor gets on one of several paths is not its whole gradient.
function byThisPath(run, input) {
  const { paths } = run.tensors[input.tensor];
  return paths > 1 ? ` ${text("one_path", { count: paths })}` : "";
}

function inputName(run, input) {
  const name = run.tensors[input.tensor].name;
  return name && name !== input.name ? `${input.name} = ${name}` : input.name;
}

function heading(run, step, number) {
  const verdict = step.check ? step.check.verdict : "skipped";
  const where = step.layer ? `${step.op} · ${step.layer}` : step.op;
  return element("div", {},
    element("h2", { id: "heading" }, where),
    element("p", { className: "soft" }, text("step", { number, last: run.steps.length - 1 }),
      ` · ${text("check")}: `,
      element("span", { className: { passed: "good", failed: "bad" }[verdict] || "soft" }, text(verdict)),
      step.check?.message ? ` ${step.check.message}` : ""),
    step.source ? element("p", {}, `${text("line")}: `, element("code", {}, step.source),
      element("span", { className: "soft" }, `  ${step.file}:${step.line}`)) : null);
}

function math(markup) {
  const holder = element("div", { className: "formula" });
  holder.innerHTML = markup;  // MathML that nnmed made of its own formulas
  return holder;
}

function formulas(step) {
  return [
    element("h3", {}, text("forward")), math(step.forward),
    element("h3", {}, text("backward")),
    ...step.inputs.filter((input) => input.formula).map((input) => math(input.formula)),
  ];
}

function section(title, figures, note) {
  if (!figures.length) return [];
  return [element("h3", {}, text(title)), note,
    element("div", { className: "arrays" }, ...figures)].filter(Boolean);
}

function sources(run, step, go) {
  const rows = step.inputs.map((input) => {
    const from = run.tensors[input.tensor].step;
    return element("tr", {}, element("th", { scope: "row" }, input.name),
      element("td", {}, from === null ? run.tensors[input.tensor].name || text("leaf")
        : element("button", { type: "button", className: "step", onclick: () => go(from) },
          text("from_step", { number: from }))));
  });
  return rows.length ? [element("table", { className: "sources" }, element("tbody", {}, ...rows))] : [];
}

function numbersPutIn(step) {
  return step.numbers ? [element("h3", {}, text("numbers")), element("pre", {}, step.numbers)] : [];
}

function kept(step) {
  const what = (name) => name === "output" ? text("output") : name.replace(/^input /, `${text("input")} `);
  const names = step.saved.map((saved) => `${what(saved.what)} ${shapeText(saved.shape)}`);
  return [element("h3", {}, text("saved")), element("p", {}, names.join(", ") || text("nothing_saved"))];
}

function code(step) {
  const source = page.code[step.code];
  return source ? [element("details", {}, element("summary", {}, text("code")),
    element("pre", {}, source))] : [];
}
