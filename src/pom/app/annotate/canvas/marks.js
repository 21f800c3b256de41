/** What is drawn at the resolution of the screen: boxes, the polygon in hand, the scale bar. */
const HALO = "rgba(0, 0, 0, 0.65)";
const FONT = "500 12px system-ui, sans-serif";
const LABEL_PX = 19;
const BAR_PX = 140;

/**
 * @param boxes [{x, y, side, colour, title, active, empty, chosen}]: centre and side in pixels
 * @param polygon the points so far in pixels and where the pointer is, or empty
 */
export function drawMarks(canvas, view, { boxes, polygon, colour, voxelSize }) {
  const context = fitted(canvas, view);
  context.font = FONT;
  for (const box of boxes) drawBox(context, view, box);
  if (polygon.length) drawPolygon(context, view, polygon, colour);
  drawScaleBar(context, view, voxelSize);
}

function fitted(canvas, { width, height }) {
  const ratio = devicePixelRatio || 1;
  const [columns, rows] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== columns || canvas.height !== rows) {
    canvas.width = columns;
    canvas.height = rows;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

function drawBox(context, view, { x, y, side, colour, title, active, empty, chosen }) {
  const [left, top] = view.toScreen(Math.floor(x - side / 2) - 0.5, Math.floor(y - side / 2) + side - 0.5);
  const size = side * view.scale;
  if (left > view.width || top > view.height || left + size < 0 || top + size < 0) return;
  if (chosen) {
    context.fillStyle = `${colour}26`;
    context.fillRect(left, top, size, size);
  }
  context.lineWidth = active ? 4 : 3.5;
  context.strokeStyle = HALO;
  context.strokeRect(left, top, size, size);
  context.setLineDash(empty ? [7, 5] : []);
  context.lineWidth = active ? 2 : 1.5;
  context.strokeStyle = colour;
  context.strokeRect(left, top, size, size);
  context.setLineDash([]);
  if (empty) label(context, view, `nothing of ${title} here`, left, top, colour);
}

/** On top of a box whose left top corner is there, as far as that is in view. */
function label(context, view, text, left, top, colour) {
  const width = context.measureText(text).width + 14;
  const x = Math.max(0, Math.min(left - 1, view.width - width));
  const y = top < LABEL_PX ? Math.max(0, top + 1) : top - LABEL_PX - 1;
  context.fillStyle = "rgba(18, 18, 18, 0.85)";
  context.fillRect(x, y, width, LABEL_PX);
  context.fillStyle = colour;
  context.fillRect(x, y, 3, LABEL_PX);
  context.fillStyle = "#f2f2f2";
  context.textBaseline = "middle";
  context.fillText(text, x + 8, y + LABEL_PX / 2 + 1);
}

function drawPolygon(context, view, points, colour) {
  const corners = points.map(([x, y]) => view.toScreen(x, y));
  const path = new Path2D();
  corners.forEach(([left, top], i) => (i ? path.lineTo(left, top) : path.moveTo(left, top)));
  path.closePath();
  context.fillStyle = `${colour}33`;
  context.fill(path, "evenodd");
  for (const [width, style] of [[4, HALO], [2, colour]]) {
    context.lineWidth = width;
    context.strokeStyle = style;
    context.stroke(path);
  }
  context.fillStyle = "#ffffff";
  for (const [left, top] of corners.slice(0, -1)) context.fillRect(left - 2.5, top - 2.5, 5, 5);
}

function drawScaleBar(context, view, voxelSize) {
  const length = niceLength((BAR_PX / view.scale) * voxelSize);
  const size = (length / voxelSize) * view.scale;
  const [left, top] = [16, view.height - 22];
  context.fillStyle = HALO;
  context.fillRect(left - 8, top - 24, size + 16, 36);
  context.fillStyle = "#ffffff";
  context.fillRect(left, top, size, 4);
  context.textBaseline = "alphabetic";
  context.textAlign = "center";
  context.fillText(`${length} nm`, left + size / 2, top - 7);
  context.textAlign = "start";
}

/** The largest of 1, 2, 5, 10, 20, ... nm that is not longer. */
export function niceLength(longest) {
  const power = 10 ** Math.floor(Math.log10(longest));
  const digit = [5, 2, 1].find((one) => one * power <= longest) ?? 1;
  return Number((digit * power).toPrecision(1));
}
