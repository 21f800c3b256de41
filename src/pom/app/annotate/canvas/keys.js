/** The keys: one table, from which both the handler and the list under `?` are made. */

/** `key` as KeyboardEvent.key, letters in lower case; `ctrl` also stands for Cmd; `again`: also while held down. */
export const KEYS = [
  { group: "Tools", keys: ["b"], says: "Brush", does: (board) => board.choose("brush") },
  { group: "Tools", keys: ["e"], says: "Eraser", does: (board) => board.choose("eraser") },
  { group: "Tools", keys: ["m"], says: "Magic brush: similar pixels inside the circle", does: (board) => board.choose("magic") },
  { group: "Tools", keys: ["p"], says: "Polygon", does: (board) => board.choose("polygon") },
  { group: "Tools", keys: ["f"], says: "Fill an enclosed area", does: (board) => board.choose("fill") },
  { group: "Tools", keys: ["x"], says: "Boxes", does: (board) => board.choose("box") },
  { group: "Tools", keys: ["a"], says: "Accept: take what the network says here", does: (board) => board.choose("accept") },
  { group: "Tools", keys: ["h"], says: "Hand: move the slice", does: (board) => board.choose("pan") },
  { group: "Tools", keys: ["[", ","], says: "Smaller brush", again: true, does: (board) => board.resizeBrush(-1) },
  { group: "Tools", keys: ["]", "."], says: "Larger brush", again: true, does: (board) => board.resizeBrush(1) },
  { group: "Drawing", keys: ["Enter"], says: "Close the polygon", does: (board, { shiftKey }) => board.drawing.closePolygon(shiftKey) },
  { group: "Drawing", keys: ["Escape"], says: "Give up the stroke or polygon in hand", does: (board) => board.drawing.giveUpGesture() },
  { group: "Drawing", keys: ["Delete", "Backspace"], says: "Delete the box under the pointer", does: (board) => board.drawing.deleteBox() },
  { group: "Drawing", keys: ["Shift+A"], says: "Accept within the box under the pointer", does: (board) => board.drawing.acceptUnderPointer() },
  { group: "Drawing", keys: ["Ctrl+Z"], says: "Undo", again: true, does: (board) => board.drawing.undo() },
  { group: "Drawing", keys: ["Ctrl+Shift+Z", "Ctrl+Y"], says: "Redo", again: true, does: (board) => board.drawing.redo() },
  { group: "Drawing", keys: ["Ctrl+S"], says: "Save now (each stroke is saved by itself)", does: (board) => board.drawing.save() },
  { group: "Features", keys: ["1", "2", "3", "4", "5", "6", "7", "8", "9"], shown: "1 – 9", says: "Draw this feature", does: (board, { key }) => board.activate(Number(key) - 1) },
  { group: "Features", keys: ["v"], says: "Hide or show all that is drawn", does: (board) => board.toggleMarks() },
  { group: "Slice", keys: ["ArrowUp", "ArrowRight"], says: "Next slice", again: true, does: (board) => board.step(1) },
  { group: "Slice", keys: ["ArrowDown", "ArrowLeft"], says: "Slice before", again: true, does: (board) => board.step(-1) },
  { group: "Slice", keys: ["PageUp"], says: "Ten slices on", again: true, does: (board) => board.step(10) },
  { group: "Slice", keys: ["PageDown"], says: "Ten slices back", again: true, does: (board) => board.step(-10) },
  { group: "Slice", keys: ["End"], says: "Last slice", does: (board) => board.goTo(Infinity) },
  { group: "Slice", keys: ["Home"], says: "First slice", does: (board) => board.goTo(0) },
  { group: "View", keys: ["+", "="], shown: "+", says: "Closer", again: true, does: (board) => board.zoom(1.25) },
  { group: "View", keys: ["-"], says: "Farther", again: true, does: (board) => board.zoom(0.8) },
  { group: "View", keys: ["0"], says: "The whole slice", does: (board) => board.fit() },
  { group: "View", keys: ["c"], says: "Automatic contrast", does: (board) => board.automaticContrast() },
  { group: "View", keys: ["i"], says: "Invert", does: (board) => board.invert() },
  { group: "View", keys: ["?"], says: "This list", does: (board) => board.elements.keys.showModal() },
];

/** What the mouse does: for the list only. */
const MOUSE = [
  { group: "Mouse", shown: "Wheel", says: "Through the slices" },
  { group: "Mouse", shown: "Ctrl + wheel", says: "Closer or farther, at the pointer" },
  { group: "Mouse", shown: "Shift + wheel", says: "Size of the brush" },
  { group: "Mouse", shown: "Right or middle drag", says: "Move the slice (also: Space and drag)" },
  { group: "Mouse", shown: "Shift + draw", says: "Take away what the tool would draw" },
  { group: "Mouse", shown: "Double click", says: "Close the polygon" },
  { group: "Mouse", shown: "Box: click, drag", says: "Place a box, move one" },
  { group: "Mouse", shown: "Box: Ctrl + click", says: "Place a box within another" },
  { group: "Mouse", shown: "Box: Alt + click", says: "Delete the box" },
];

const NAMES = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc", PageUp: "Page Up", PageDown: "Page Down", Delete: "Del", Backspace: "⌫" };

/** For the list: [{group, rows: [{keys: [text, ...], says}]}]. */
export function listOfKeys() {
  const groups = new Map();
  for (const { group, keys, shown, says } of [...KEYS, ...MOUSE]) {
    const names = shown ? [shown] : keys.map((key) => NAMES[key] ?? key.replace(/^.$/, (letter) => letter.toUpperCase()));
    groups.set(group, [...(groups.get(group) ?? []), { keys: names, says }]);
  }
  return [...groups].map(([group, rows]) => ({ group, rows }));
}

const TYPING = "input:not([type=range]), textarea, select, [contenteditable=true], [role=combobox], [role=listbox], [role=menu], [role=dialog], dialog, .q-dialog, .q-menu";
const MOVES_BY_ARROWS = "input[type=range], [role=slider], [role=tablist], [role=radiogroup], [role=tree], [role=grid]";

/** Does what the key stands for, except where it is meant for something else on the page. */
export function handleKey(board, event) {
  const { target, key } = event;
  if (event.defaultPrevented || event.altKey || target.closest?.(TYPING)) return;
  if (/^(Arrow|Page|Home|End)/.test(key) && target.closest?.(MOVES_BY_ARROWS)) return;
  if (key === "Enter" && target.closest?.("button, a, [role=button], [tabindex]:not(.pom-stage)") && !board.drawing.polygon.length) return;
  const row = KEYS.find(({ keys }) => keys.includes(nameOf(event)));
  if (!row) return;
  event.preventDefault();
  if (!event.repeat || row.again) row.does(board, event);
}

function nameOf({ key, ctrlKey, metaKey, shiftKey }) {
  const letter = /^[a-z]$/i.test(key);
  if (ctrlKey || metaKey) return `Ctrl+${shiftKey ? "Shift+" : ""}${letter ? key.toUpperCase() : key}`;
  if (letter) return shiftKey ? `Shift+${key.toUpperCase()}` : key.toLowerCase();
  return key;
}
