// Arrays of the page: a few pictures of each, their numbers packed as 16-bit steps of their range.

const unpacked = new Map();

// The numbers of an array's pictures, one after the other.
function numbersOf(array) {
  if (!unpacked.has(array)) {
    const bytes = Uint8Array.from(atob(array.numbers), (c) => c.charCodeAt(0));
    const steps = new Uint16Array(bytes.buffer);
    const size = (array.largest - array.smallest) / 65534;
    // The last step stands for NaN.
    unpacked.set(array, Float64Array.from(steps, (s) => s === 65535 ? NaN : array.smallest + s * size));
  }
  return unpacked.get(array);
}

// One picture as {rows, columns, numbers, smallest, largest}.
function pictureOf(array, which) {
  const size = array.rows * array.columns;
  const numbers = numbersOf(array).subarray(which * size, (which + 1) * size);
  return { rows: array.rows, columns: array.columns, numbers };
}

// The difference of two arrays of one shape, as an array.
function difference(a, b) {
  const numbers = numbersOf(a).map((x, i) => x - numbersOf(b)[i]);
  const finite = Array.from(numbers).filter(Number.isFinite);
  const made = { ...a, smallest: Math.min(0, ...finite), largest: Math.max(0, ...finite) };
  made.statistics = null;
  unpacked.set(made, numbers);
  return made;
}

function format(number) {
  if (number === null || number === undefined) return "–";
  if (!Number.isFinite(number)) return String(number);
  const size = Math.abs(number);
  if (size === 0) return "0";
  return size >= 1e-3 && size < 1e5 ? String(+number.toPrecision(4)) : number.toExponential(3);
}

function shapeText(shape) {
  return shape.length ? `(${shape.join(", ")}${shape.length === 1 ? "," : ""})` : "()";
}

// The index in the whole array of a place in a picture, as a list.
function indexAt(array, which, row, column) {
  const at = array.places[which];
  return [...at, ...(array.axes.length === 2 ? [row * array.stride[0], column * array.stride[1]]
    : array.axes.length === 1 ? [column * array.stride[1]] : [])];
}
