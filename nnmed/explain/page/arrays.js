// Arrays of the page: a few pictures of each, their numbers packed as float16 times a power of two.

const unpacked = new Map();

// The numbers of an array's pictures, one after the other.
function numbersOf(array) {
  if (!unpacked.has(array)) {
    const bytes = Uint8Array.from(atob(array.numbers), (c) => c.charCodeAt(0));
    const scale = 2 ** -array.exponent;
    unpacked.set(array, Float64Array.from(new Uint16Array(bytes.buffer), (bits) => half(bits) * scale));
  }
  return unpacked.get(array);
}

// The number that 16 bits stand for: a sign, five bits of exponent, ten of fraction.
function half(bits) {
  const sign = bits >> 15 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = (bits & 1023) / 1024;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1 + fraction) * 2 ** (exponent - 15) : fraction * 2 ** -14);
}

// One picture as {rows, columns, numbers}.
function pictureOf(array, which) {
  const size = array.rows * array.columns;
  const numbers = numbersOf(array).subarray(which * size, (which + 1) * size);
  return { rows: array.rows, columns: array.columns, numbers };
}

const differences = new Map();

// The difference of two arrays of one shape, as an array; null where they do not match.
function difference(a, b) {
  if (!differences.has(a)) differences.set(a, made(a, b));
  return differences.get(a);
}

function made(a, b) {
  if (!a || !b || String(a.shape) !== String(b.shape)) return null;
  const numbers = numbersOf(a).map((x, i) => x - numbersOf(b)[i]);
  const result = { ...a, statistics: null };
  unpacked.set(result, numbers);
  return result;
}

// Three digits, which is what float16 holds.
function format(number) {
  if (number === null || number === undefined) return "–";
  if (!Number.isFinite(number)) return String(number);
  const size = Math.abs(number);
  if (size === 0) return "0";
  return size >= 1e-3 && size < 1e5 ? String(+number.toPrecision(3)) : number.toExponential(2);
}

function shapeText(shape) {
  return shape.length ? `(${shape.join(", ")}${shape.length === 1 ? "," : ""})` : "()";
}

// The index in the whole array of a place in a picture, as a list.
function indexAt(array, which, row, column) {
  const at = array.places[which];
  return [...at, ...(array.axes.length === 2 ? [row * array.stride[0], column * array.stride[1]]
    : array.axes.length === 1 ? [column * array.stride[1]] : []), ...Array(array.ones).fill(0)];
}
