// Heat maps: blue below zero, red above, so that the sign of a gradient can be seen.

const SIZE = 200;  // pixels of the longer side

function colour(value, limit) {
  if (Number.isNaN(value)) return [128, 0, 128];
  if (!Number.isFinite(value)) return value < 0 ? [0, 0, 80] : [80, 0, 0];  // beyond the scale
  const t = limit > 0 ? Math.max(-1, Math.min(1, value / limit)) : 0;
  const fade = 1 - Math.abs(t);
  const ends = t < 0 ? [33, 102, 172] : [178, 24, 43];
  return ends.map((end) => Math.round(end + (247 - end) * fade));
}

function limitOf(numbers) {
  let limit = 0;
  for (const x of numbers) if (Number.isFinite(x) && Math.abs(x) > limit) limit = Math.abs(x);
  return limit;
}

function draw(canvas, picture, limit) {
  const { rows, columns, numbers } = picture;
  if (!numbers.length) return;
  canvas.width = columns;
  canvas.height = rows;
  const longest = Math.max(rows, columns);
  const zoom = Math.max(1, Math.min(24, SIZE / longest));
  canvas.style.width = `${Math.max(14, columns * zoom)}px`;
  canvas.style.height = `${Math.max(14, rows * zoom)}px`;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  numbers.forEach((value, i) => image.data.set([...colour(value, limit), 255], 4 * i));
  context.putImageData(image, 0, 0);
}

function drawScale(canvas, limit, low) {
  canvas.width = 1;
  canvas.height = 64;
  canvas.style.width = "12px";
  const context = canvas.getContext("2d");
  for (let y = 0; y < 64; y++) {
    const value = limit + (low - limit) * y / 63;
    context.fillStyle = `rgb(${colour(value, limit || 1).join(",")})`;
    context.fillRect(0, y, 1, 1);
  }
}

// Mark a region of a drawn picture: rows and columns from first to last, in places of the picture.
function drawRegion(overlay, canvas, region) {
  const [width, height] = [canvas.style.width, canvas.style.height].map(parseFloat);
  overlay.width = width;
  overlay.height = height;
  overlay.style.width = canvas.style.width;
  overlay.style.height = canvas.style.height;
  const context = overlay.getContext("2d");
  context.clearRect(0, 0, width, height);
  if (!region) return;
  const [y0, y1, x0, x1] = region, down = height / canvas.height, right = width / canvas.width;
  context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--mark");
  context.lineWidth = 3;
  context.strokeRect(x0 * right + 1, y0 * down + 1,
    Math.max(4, (x1 - x0 + 1) * right - 2), Math.max(4, (y1 - y0 + 1) * down - 2));
}
