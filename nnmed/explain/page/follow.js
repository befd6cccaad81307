// Follow one number of a tensor to the loss: where in each later tensor it has an effect.
//
// A region is [first row, last row, first column, last column], or null for all of a tensor.

// Where the output of a step depends on a region of its input.
function spread(step, region, output) {
  const reach = step.reach;
  if (region === null || reach.kind === "all") return null;
  if (reach.kind === "same") return region;
  const result = [];
  for (const axis of [0, 1]) {
    const [first, last] = region.slice(2 * axis, 2 * axis + 2);
    const [k, s, p, d] = [reach.kernel, reach.stride, reach.before, reach.dilation].map((v) => v[axis]);
    const width = (k - 1) * d, end = output.shape[output.shape.length - 2 + axis] - 1;
    const [from, to] = reach.kind === "window"
      ? [Math.ceil((first + p - width) / s), Math.floor((last + p) / s)]
      : [first * s - p, last * s - p + width];  // transposed: each number adds a window
    result.push(Math.max(0, from), Math.min(end, to));
  }
  return result;
}

function join(a, b) {
  if (a === undefined) return b;
  if (a === null || b === null) return null;
  return [Math.min(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.max(a[3], b[3])];
}

// The trail of a number: its region in each tensor that depends on it, by the tensor's name.
function trailOf(run, tensor, index) {
  const shape = run.tensors[tensor].shape;
  const hasPlace = shape.length >= 3 && index.slice(-2).every(Number.isInteger);
  const place = hasPlace ? [index.at(-2), index.at(-2), index.at(-1), index.at(-1)] : null;
  const regions = new Map([[tensor, place]]);
  // Steps run from the loss to the leaves, so the way to the loss is from the last step to the first.
  for (let number = run.steps.length - 1; number >= 0; number--) {
    const step = run.steps[number];
    for (const input of step.inputs) {
      if (!regions.has(input.tensor)) continue;
      const isMain = input === step.inputs[0] || step.reach.kind === "same";
      const region = isMain ? spread(step, regions.get(input.tensor), run.tensors[step.output]) : null;
      regions.set(step.output, join(regions.get(step.output), region));
    }
  }
  return regions;
}

// A region in places of an array's pictures, or null where the array shows no such places.
function inPicture(array, region) {
  if (!region || array.axes.length !== 2 || array.shape.length < 3 || array.ones) return null;
  const [down, right] = array.stride;
  return [Math.floor(region[0] / down), Math.floor(region[1] / down),
    Math.floor(region[2] / right), Math.floor(region[3] / right)];
}

function regionText(region) {
  if (region === null) return text("whole");
  const [y0, y1, x0, x1] = region;
  const span = (a, b) => a === b ? `${a}` : `${a}…${b}`;
  return `[${span(y0, y1)}, ${span(x0, x1)}]`;
}
