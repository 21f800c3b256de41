/**
 * What the tools draw, on a mask {values: Uint8Array of 0 and 1, width, height}. Each function sets pixels and gives the
 * rectangle {x, y, width, height} that holds all of them, or null where there are none.
 */

export function union(a, b) {
  if (!a || !b) return a ?? b;
  const x = Math.min(a.x, b.x);
  const y = Math.min(a.y, b.y);
  const right = Math.max(a.x + a.width, b.x + b.width);
  const top = Math.max(a.y + a.height, b.y + b.height);
  return { x, y, width: right - x, height: top - y };
}

/** The pixels whose coordinates lie within these, limits included, and within the slice. */
export function within({ width, height }, left, bottom, right, top) {
  const x = Math.max(0, Math.ceil(left));
  const y = Math.max(0, Math.ceil(bottom));
  const columns = Math.min(width - 1, Math.floor(right)) - x + 1;
  const rows = Math.min(height - 1, Math.floor(top)) - y + 1;
  return columns > 0 && rows > 0 ? { x, y, width: columns, height: rows } : null;
}

/** All pixels whose centre is within `radius` of the line from a to b, [x, y] each, where `allowed(x, y)`. */
export function paintLine(mask, a, b, radius, value, allowed = null) {
  const [ax, ay] = a;
  const [dx, dy] = [b[0] - ax, b[1] - ay];
  const area = within(
    mask,
    Math.min(ax, b[0]) - radius,
    Math.min(ay, b[1]) - radius,
    Math.max(ax, b[0]) + radius,
    Math.max(ay, b[1]) + radius,
  );
  if (!area) return null;
  const squared = dx * dx + dy * dy;
  for (let y = area.y; y < area.y + area.height; y++) {
    for (let x = area.x; x < area.x + area.width; x++) {
      const along = squared ? Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / squared)) : 0;
      const offX = x - ax - along * dx;
      const offY = y - ay - along * dy;
      if (offX * offX + offY * offY > radius * radius) continue;
      if (!allowed || allowed(x, y)) mask.values[y * mask.width + x] = value;
    }
  }
  return area;
}

/** All pixels of a rectangle where `allowed(x, y)`. */
export function paintRectangle(mask, area, value, allowed) {
  for (let y = area.y; y < area.y + area.height; y++) {
    for (let x = area.x; x < area.x + area.width; x++) {
      if (allowed(x, y)) mask.values[y * mask.width + x] = value;
    }
  }
  return area;
}

/** All pixels whose centre is inside the polygon by the even-odd rule. */
export function paintPolygon(mask, points, value) {
  const [xs, ys] = [points.map((point) => point[0]), points.map((point) => point[1])];
  const area = within(mask, Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys));
  if (!area) return null;
  for (let y = area.y; y < area.y + area.height; y++) {
    const crossings = points
      .map((point, i) => crossing(point, points[(i + 1) % points.length], y))
      .filter((x) => x !== null)
      .sort((one, other) => one - other);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const from = Math.max(area.x, Math.ceil(crossings[i]));
      const to = Math.min(area.x + area.width, Math.ceil(crossings[i + 1]));
      if (from < to) mask.values.fill(value, y * mask.width + from, y * mask.width + to);
    }
  }
  return area;
}

function crossing([ax, ay], [bx, by], y) {
  return ay <= y !== by <= y ? ax + ((y - ay) * (bx - ax)) / (by - ay) : null;
}

/**
 * Fills the undrawn area about pixel (x, y) that drawn pixels enclose. Neighbours are up, down, left and right.
 * An area that reaches the edge of the slice is not enclosed: it stays as it is, and the result is null.
 */
export function fillEnclosed(mask, x, y) {
  const { values, width, height } = mask;
  const seen = new Uint8Array(values.length);
  const stack = [y * width + x];
  seen[stack[0]] = 1;
  let [left, right, bottom, top] = [x, x, y, y];
  while (stack.length) {
    const i = stack.pop();
    const column = i % width;
    const row = (i - column) / width;
    if (column === 0 || row === 0 || column === width - 1 || row === height - 1) return null;
    left = Math.min(left, column);
    right = Math.max(right, column);
    bottom = Math.min(bottom, row);
    top = Math.max(top, row);
    for (const next of [i - 1, i + 1, i - width, i + width]) {
      if (values[next] || seen[next]) continue;
      seen[next] = 1;
      stack.push(next);
    }
  }
  for (let i = bottom * width + left; i <= top * width + right; i++) if (seen[i]) values[i] = 1;
  return { x: left, y: bottom, width: right - left + 1, height: top - bottom + 1 };
}

/**
 * The pixels within `radius` of (x, y) that are connected with the pixel there through pixels whose grey value differs
 * from the mean of the 3 x 3 about it by `tolerance` at most.
 */
export function paintSimilar(mask, grey, [x, y], radius, tolerance, value) {
  const area = within(mask, x - radius, y - radius, x + radius, y + radius);
  const [column, row] = [Math.round(x), Math.round(y)];
  if (!area || column < 0 || row < 0 || column >= mask.width || row >= mask.height) return null;
  const goal = meanAbout(grey, column, row);
  const seen = new Uint8Array(area.width * area.height);
  const stack = [[column, row]];
  while (stack.length) {
    const [px, py] = stack.pop();
    const inArea = px >= area.x && py >= area.y && px < area.x + area.width && py < area.y + area.height;
    if (!inArea || (px - x) ** 2 + (py - y) ** 2 > radius * radius) continue;
    const place = (py - area.y) * area.width + px - area.x;
    if (seen[place]) continue;
    seen[place] = 1;
    const start = px === column && py === row;
    if (!start && Math.abs(grey.values[py * mask.width + px] - goal) > tolerance) continue;
    mask.values[py * mask.width + px] = value;
    stack.push([px - 1, py], [px + 1, py], [px, py - 1], [px, py + 1]);
  }
  return area;
}

function meanAbout(grey, column, row) {
  const area = within(grey, column - 1, row - 1, column + 1, row + 1);
  let sum = 0;
  for (let y = area.y; y < area.y + area.height; y++) {
    for (let x = area.x; x < area.x + area.width; x++) sum += grey.values[y * grey.width + x];
  }
  return sum / (area.width * area.height);
}
