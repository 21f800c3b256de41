/**
 * What the pointer does with each tool. A tool begins a gesture: {move(points), end(), cancel()}, with points [x, y] in
 * pixels; or it does all at once and gives null. Held Shift, what is drawn is taken away.
 */
import * as shapes from "./shapes.js";

/** Grey values by which connected pixels may differ at the highest sensitivity. */
const MOST_TOLERANCE = 100;

export const TOOLS = {
  brush: (board, point, { shiftKey }) => stroke(board, point, line(board, shiftKey ? 0 : 1)),
  eraser: (board, point) => stroke(board, point, line(board, 0)),
  magic: (board, point, { shiftKey }) => stroke(board, point, similar(board, shiftKey ? 0 : 1)),
  accept: (board, point, { shiftKey }) => {
    const says = board.drawing.networkSays();
    return says && stroke(board, point, line(board, shiftKey ? 0 : 1, says));
  },
  fill,
  polygon: (board, point) => {
    if (board.drawing.drawable()) board.drawing.polygon.push(point);
    return null;
  },
  box: placeOrMove,
  pan: () => null,
};

/** Tools that draw within the circle of the brush. */
export const ROUND = new Set(["brush", "eraser", "magic", "accept"]);

function line(board, value, allowed = null) {
  return (mask, from, to) => shapes.paintLine(mask, from, to, board.radius, value, allowed);
}

function similar(board, value) {
  return (mask, _, to) =>
    shapes.paintSimilar(mask, board.screen.grey, to, board.radius, MOST_TOLERANCE * board.options.sensitivity, value);
}

function stroke(board, start, paint) {
  const drawing = board.drawing.start();
  if (!drawing) return null;
  let last = start;
  const move = (points) => {
    let area = null;
    for (const point of points) {
      area = shapes.union(area, paint(drawing.mask, last, point));
      last = point;
    }
    board.drawing.drew(drawing, area);
  };
  move([start]);
  return { move, end: () => board.drawing.commit(drawing), cancel: () => board.drawing.giveUp(drawing) };
}

function fill(board, [x, y]) {
  const drawing = board.drawing.start();
  const [column, row] = [Math.round(x), Math.round(y)];
  if (!drawing || !board.contains(column, row)) return null;
  if (drawing.mask.values[row * drawing.mask.width + column]) {
    board.say("This is drawn already: click inside an outline.");
    return null;
  }
  const area = shapes.fillEnclosed(drawing.mask, column, row);
  if (!area) board.say("This area is open to the edge of the slice: close its outline first.");
  board.drawing.drew(drawing, area);
  board.drawing.commit(drawing);
  return null;
}

/** The polygon in hand becomes pixels. */
export function closePolygon(board, value) {
  const points = board.drawing.polygon.splice(0);
  board.screen.stale("marks");
  const drawing = points.length >= 3 ? board.drawing.start() : null;
  if (!drawing) return;
  board.drawing.drew(drawing, shapes.paintPolygon(drawing.mask, points, value));
  board.drawing.commit(drawing);
}

/** Draws what the network says within these boxes, [[x, y], ...]. */
export function acceptWithin(board, centres, side) {
  const says = board.drawing.networkSays();
  const drawing = says && board.drawing.start();
  if (!drawing) return;
  for (const [x, y] of centres) {
    const [left, bottom] = [Math.floor(x - side / 2), Math.floor(y - side / 2)];
    const area = shapes.within(drawing.mask, left, bottom, left + side - 1, bottom + side - 1);
    if (area) board.drawing.drew(drawing, shapes.paintRectangle(drawing.mask, area, 1, says));
  }
  board.drawing.commit(drawing);
}

function placeOrMove(board, [x, y], { ctrlKey, metaKey, altKey }) {
  const feature = board.drawing.drawable();
  if (!feature) return null;
  const z = board.screen.shown;
  const before = board.drawing.boxes.of(feature.id, z);
  let index = ctrlKey || metaKey ? -1 : board.drawing.boxAt([x, y]);
  if (altKey) {
    if (index >= 0) board.drawing.deleteBox(index);
    return null;
  }
  const isNew = index < 0;
  if (isNew) index = before.length;
  const from = isNew ? [Math.round(x), Math.round(y)] : before[index];
  const put = (centre) => {
    const boxes = [...before];
    boxes[index] = board.drawing.clamped(centre);
    board.drawing.moveBox(feature.id, z, boxes, index);
  };
  put(from);
  return {
    move: (points) => {
      const [nowX, nowY] = points.at(-1);
      put([from[0] + Math.round(nowX - x), from[1] + Math.round(nowY - y)]);
    },
    end: () => board.drawing.commitBoxes(feature.id, z, before),
    cancel: () => board.drawing.moveBox(feature.id, z, before, null),
  };
}
