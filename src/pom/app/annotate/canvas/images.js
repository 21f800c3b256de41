/** Grey pictures as arrays: decoding, blur, percentiles, and the table from grey values to colours on the screen. */

const scratch = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

/** Of a response with a grey image: {values: Uint8Array, width, height}, row 0 first. */
export async function decodeGrey(response) {
  const bitmap = await createImageBitmap(await response.blob(), { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  if (scratch.canvas.width !== width || scratch.canvas.height !== height) {
    scratch.canvas.width = width;
    scratch.canvas.height = height;
  }
  scratch.drawImage(bitmap, 0, 0);
  bitmap.close();
  const pixels = new Uint32Array(scratch.getImageData(0, 0, width, height).data.buffer);
  const values = new Uint8Array(pixels.length);
  for (let i = 0; i < values.length; i++) values[i] = pixels[i];
  return { values, width, height };
}

/** Three running means, which are nearly a Gaussian of `sigma` pixels; beyond the edge the edge goes on. */
export function blurred({ values, width, height }, sigma) {
  const from = new Float32Array(values);
  const to = new Float32Array(values.length);
  for (const radius of radii(sigma)) {
    if (!radius) continue;
    meanOfRows(from, to, width, height, radius);
    meanOfColumns(to, from, width, height, radius);
  }
  const result = new Uint8Array(values.length);
  for (let i = 0; i < result.length; i++) result[i] = from[i] + 0.5;
  return { values: result, width, height };
}

/** Of three means: their variances, (side^2 - 1) / 12 each, add up to about sigma^2. */
function radii(sigma) {
  const side = Math.sqrt(4 * sigma * sigma + 1);
  const small = Math.floor((side - 1) / 2);
  const lower = (2 * small + 1) ** 2 - 1;
  const upper = (2 * small + 3) ** 2 - 1;
  const larger = Math.min(3, Math.max(0, Math.round((12 * sigma * sigma - 3 * lower) / (upper - lower))));
  return [0, 1, 2].map((i) => (i < larger ? small + 1 : small));
}

function meanOfRows(from, to, width, height, radius) {
  const side = 2 * radius + 1;
  const wide = new Float32Array(width + side);
  for (let start = 0; start < height * width; start += width) {
    wide.fill(from[start], 0, radius);
    wide.set(from.subarray(start, start + width), radius);
    wide.fill(from[start + width - 1], radius + width);
    let sum = 0;
    for (let i = 0; i < side; i++) sum += wide[i];
    for (let i = 0; i < width; i++) {
      to[start + i] = sum / side;
      sum += wide[i + side] - wide[i];
    }
  }
}

function meanOfColumns(from, to, width, height, radius) {
  const last = height - 1;
  const share = 1 / (2 * radius + 1);
  const sums = new Float32Array(width);
  for (let i = 0; i < width; i++) sums[i] = from[i] * (radius + 1);
  for (let row = 1; row <= radius; row++) {
    const start = Math.min(row, last) * width;
    for (let i = 0; i < width; i++) sums[i] += from[start + i];
  }
  for (let row = 0; row < height; row++) {
    const start = row * width;
    const enters = Math.min(row + radius + 1, last) * width;
    const leaves = Math.max(row - radius, 0) * width;
    for (let i = 0; i < width; i++) {
      to[start + i] = sums[i] * share;
      sums[i] += from[enters + i] - from[leaves + i];
    }
  }
}

/** Contrast {low, high} such that `share` of the pixels lie below and as many above. */
export function percentiles({ values }, share) {
  const counts = new Uint32Array(256);
  for (let i = 0; i < values.length; i++) counts[values[i]]++;
  const outside = share * values.length;
  let low = 0;
  for (let sum = counts[0]; sum <= outside && low < 254; ) sum += counts[++low];
  let high = 255;
  for (let sum = counts[255]; sum <= outside && high > low + 1; ) sum += counts[--high];
  return { low, high };
}

/** Grey value to a pixel of ImageData as one 32-bit number. */
export function contrastTable({ low, high, inverted }) {
  const table = new Uint32Array(256);
  for (let value = 0; value < 256; value++) {
    const share = Math.min(1, Math.max(0, (value - low) / Math.max(1, high - low)));
    const grey = Math.round(255 * (inverted ? 1 - share : share));
    table[value] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  return table;
}

/** Value to a pixel of this colour, as opaque as the value is high; with a level, opaque above it and faint below. */
export function tintTable(colour, level) {
  const [red, green, blue] = rgb(colour);
  const opacity = (value) => (level === null ? value : value > level * 255 ? 255 : value >> 2);
  const pixel = (value) => ((opacity(value) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  return Uint32Array.from({ length: 256 }, (_, value) => pixel(value));
}

export function rgb(colour) {
  return [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
}
