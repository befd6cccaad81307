// A figure of one array: heat map, colour bar, choice of picture, the number under the pointer.

// Up to so many numbers are written out below their picture.
const FEW = 9;

// Which picture of each tensor was chosen last, so that it stays from step to step; and the figures
// of each tensor that are shown, which choose together.
const chosenPicture = new Map();
const figuresOf = new Map();

// `about` is {name, key, tensor}: what it is called, where it is in the page, what can be followed.
function arrayFigure(array, about, follow, region) {
  if (!array) {
    return element("figure", {}, element("figcaption", {}, `${about.name}: ${text("not_kept")}`));
  }
  let which = 0;
  const map = element("canvas", { className: "map", tabIndex: 0 });
  map.dataset.key = `${about.tensor} ${about.name}`;
  map.setAttribute("role", "img");
  const overlay = element("canvas", { className: "mark" });
  overlay.style.cssText = "position:absolute;left:0;top:0;pointer-events:none";
  const reading = element("div", { className: "reading" });
  const scale = element("canvas");
  const ends = element("div", { className: "scale" });
  let picture, cursor = null;

  function show(number) {
    which = Math.min(number, array.labels.length - 1);
    picture = pictureOf(array, which);
    const limit = limitOf(picture.numbers), low = picture.numbers.some((x) => x < 0) ? -limit : 0;
    draw(map, picture, limit);
    const height = `${Math.max(72, parseFloat(map.style.height))}px`;
    drawScale(scale, limit, low);
    scale.style.height = ends.style.height = height;
    drawRegion(overlay, map, region === undefined ? null : inPicture(array, region));
    scale.hidden = ends.hidden = picture.numbers.length < 2;  // one number needs no scale
    const marks = low ? [limit, 0, low] : [limit, 0];
    ends.replaceChildren(...marks.map((end) => element("span", {}, format(end))));
    if (choice) choice.querySelector("select").value = which;
    reading.textContent = picture.numbers.length <= FEW ? written(picture) : "";
    map.setAttribute("aria-label", describe(array, about));
  }
  function read([row, column]) {
    cursor = [row, column];
    const index = indexAt(array, which, row, column);
    const place = array.norm && which === 0 ? `norm[:, ${index.slice(-2)}]` : `[${index}]`;
    reading.textContent = `${place} = ${format(picture.numbers[row * picture.columns + column])}`;
  }
  function place(event) {
    const box = map.getBoundingClientRect();
    const row = Math.floor((event.clientY - box.top) / box.height * picture.rows);
    const column = Math.floor((event.clientX - box.left) / box.width * picture.columns);
    return [Math.max(0, Math.min(picture.rows - 1, row)), Math.max(0, Math.min(picture.columns - 1, column))];
  }
  function chooseCursor(byKeyboard) {
    const isNorm = array.norm && which === 0;
    const isWhole = array.labels.length - 1 === array.shape[1];  // all channels, such as colours
    const index = indexAt(array, isNorm && !isWhole ? largestAt(array, ...cursor) : which, ...cursor);
    follow(about.tensor, isNorm && isWhole ? [index[0], ":", ...index.slice(2)] : index, byKeyboard);
  }
  map.addEventListener("pointermove", (event) => read(place(event)));
  map.addEventListener("click", (event) => { read(place(event)); chooseCursor(false); });
  map.addEventListener("keydown", (event) => {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    cursor ??= [0, 0];
    if (move) {
      read([Math.max(0, Math.min(picture.rows - 1, cursor[0] + move[0])),
        Math.max(0, Math.min(picture.columns - 1, cursor[1] + move[1]))]);
    } else if (event.key === "Enter") chooseCursor(true);
    else return;
    event.preventDefault();
    event.stopPropagation();  // the page's own arrow keys go from step to step
  });

  const choice = array.labels.length > 1
    ? element("label", {}, `${text("channel")} `, element("select", {
        onchange: (event) => {
          chosenPicture.set(about.key, +event.target.value);
          for (const showOther of figuresOf.get(about.key)) showOther(+event.target.value);
          if (cursor) read(cursor);
        },
      }, ...array.labels.map((label, i) => element("option", { value: i },
        label === "norm" ? text("all_channels") : label))))
    : null;
  const strides = Math.max(...array.stride);
  const figure = element("figure", {},
    element("figcaption", {}, element("strong", {}, about.name), ` ${shapeText(array.shape)}`,
      strides > 1 ? ` · ${text("shown", { stride: strides })}` : ""),
    element("div", { className: "picture" },
      element("div", { style: "position:relative" }, map, overlay), scale, ends),
    choice, reading, statisticsTable(array.statistics));
  figure.querySelector(".picture > div").style.position = "relative";
  figuresOf.set(about.key, [...(figuresOf.get(about.key) || []), show]);
  show(chosenPicture.get(about.key) ?? 0);
  return figure;
}

// The channel with the largest number at a place.
function largestAt(array, row, column) {
  const size = (which) => Math.abs(pictureOf(array, which).numbers[row * array.columns + column]);
  let largest = 1;
  for (let which = 2; which < array.labels.length; which++) if (size(which) > size(largest)) largest = which;
  return largest;
}

function written({ rows, columns, numbers }) {
  const line = (row) => Array.from(numbers.subarray(row * columns, (row + 1) * columns), format).join("  ");
  return Array.from({ length: rows }, (_, row) => line(row)).join("\n");
}

function describe(array, about) {
  const s = array.statistics;
  const numbers = s ? `, ${text("norm")} ${format(s.norm)}, ${text("mean")} ${format(s.mean)}, ` +
    `${text("smallest")} ${format(s.min)}, ${text("largest")} ${format(s.max)}` : "";
  return `${about.name} ${shapeText(array.shape)}${numbers}`;
}

function statisticsTable(statistics) {
  if (!statistics) return null;
  const cells = [["norm", "norm"], ["mean", "mean"], ["smallest", "min"], ["largest", "max"]];
  const rows = cells.map(([key, name]) => [text(key), format(statistics[name])]);
  rows.push([text("zeros"), `${(100 * statistics.zeros).toPrecision(3)} %`]);
  return element("table", {}, element("tbody", {}, ...rows.map(([name, value]) =>
    element("tr", {}, element("th", { scope: "row" }, name), element("td", { className: "number" }, value)))));
}
