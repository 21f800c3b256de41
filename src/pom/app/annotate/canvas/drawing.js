/** What is drawn: pixels and boxes, what is in hand, undo and redo, and what the network says. */
import { pack, toBase64, unpack } from "./bits.js";
import { Boxes } from "./boxes.js";
import { History } from "./history.js";
import { Masks } from "./masks.js";
import { union } from "./shapes.js";
import { Sync } from "./sync.js";
import { acceptWithin, closePolygon } from "./tools.js";

const LOOKS_AT = "pom-looks-at";
const NO_FEATURE = "Add a feature first: there is nothing to draw yet.";

export class Drawing {
  /** The corners so far, and the gesture of the pointer that goes on. */
  polygon = [];
  gesture = null;
  /** The index of the box that is being moved. */
  chosen = null;
  #undoing = Promise.resolve();

  constructor(board) {
    this.board = board;
    const { options } = board;
    const { session, tomogram, may_edit: mayEdit, version, features } = options;
    // Loaded again, for instance since the server is back, a page that only looks is to leave the drawing to others.
    if (mayEdit) sessionStorage.removeItem(LOOKS_AT);
    else sessionStorage.setItem(LOOKS_AT, tomogram.name);
    this.sync = Sync.of(session, tomogram, mayEdit ? version : null, (...told) => this.#saving(...told));
    Sync.listen(() => (board.state.left = Sync.left(this.sync)));
    this.history = new History((depths) => board.tell("undo_depth", depths));
    this.boxes = new Boxes(features, this.sync.unsent());
    this.sync.knows(new Set(features.map(({ id }) => id)));
    this.#openMasks();
  }

  #openMasks() {
    const { sync, board } = this;
    const { columns, rows, depth, options } = board;
    const arrived = () => board.screen.stale("picture");
    const failed = (z, sentence) => z === board.z && board.say(`What is drawn in slice ${z} did not come: ${sentence}`);
    this.masks?.slices.close();
    this.masks = new Masks({ session: options.session, columns, rows, depth, sync, arrived, failed });
  }

  /** Reads the pixels anew, after something else than this canvas has brought some; what can be undone stays. */
  readAgain() {
    // After what is being undone, which waits for slices.
    this.#undoing = this.#undoing.then(() => {
      this.endGesture();
      this.#openMasks();
      this.masks.slices.want(this.board.z);
      this.board.screen.stale("picture");
    });
  }

  close() {
    this.endGesture();
    this.masks.slices.close();
    this.sync.told = () => {};
  }

  takeFeatures(features) {
    const ids = new Set(features.map(({ id }) => id));
    this.boxes.add(features);
    this.history.keepOnly(ids);
    this.sync.knows(ids);
    this.board.screen.stale("masks");
  }

  /** The active feature where it may be drawn on now; else null, and why is said. */
  drawable() {
    const { active: feature, screen, z } = this.board;
    if (this.sync.refuses) return this.board.say(this.sync.refuses);
    if (!feature) return this.board.say(NO_FEATURE);
    if (!feature.visible || !screen.marksShown) return this.board.say(`${feature.title} is hidden: show it to draw it.`);
    const there = screen.shown === z && this.masks.get(feature.id, z) !== undefined;
    return there ? feature : this.board.say("This slice is still coming.");
  }

  /** The mask to draw on and what it was, or null. */
  start() {
    const feature = this.drawable();
    if (!feature) return null;
    const { z, columns: width, rows: height } = this.board;
    const values = this.masks.made(feature.id, z);
    return { feature, z, mask: { values, width, height }, before: values.slice(), area: null };
  }

  /** Shows what was drawn within this area. */
  drew(drawing, area) {
    if (!area) return;
    drawing.area = union(drawing.area, area);
    this.board.screen.paper.showMask(drawing.feature, drawing.mask.values, area);
  }

  giveUp({ feature, z, mask, before }) {
    const { screen } = this.board;
    mask.values.set(before);
    if (z === screen.shown) screen.paper.showMask(feature, mask.values);
  }

  /** What was drawn is a step of the history, and is sent. */
  commit({ feature, z, mask, before, area }) {
    if (!area) return;
    const old = pack(before, this.board.columns, area);
    const now = pack(mask.values, this.board.columns, area);
    if (old.every((byte, i) => byte === now[i])) return;
    this.history.record([{ feature: feature.id, z, area, before: old, after: now }]);
    this.#sendPixels(feature.id, z, area, now);
  }

  #sendPixels(feature, z, area, bits) {
    this.sync.push("patches", { feature, z, ...area, bits: toBase64(bits) });
    this.#changed();
  }

  #changed() {
    this.board.changed();
    this.board.screen.stale("boxes");
  }

  closePolygon(erase = false) {
    closePolygon(this.board, erase ? 0 : 1);
  }

  /** The stroke in hand counts, the polygon does not. */
  endGesture() {
    this.gesture?.end();
    this.gesture = null;
    this.polygon = [];
    this.board.screen.stale("boxes");
  }

  giveUpGesture() {
    this.gesture?.cancel();
    this.gesture = null;
    this.polygon = [];
    this.board.screen.stale("boxes");
  }

  /** Takes the last corner of the polygon in hand back, else the last step. */
  undo() {
    if (this.polygon.pop()) return this.board.screen.stale("marks");
    this.#undoing = this.#undoing.then(() => this.#apply("undo", "redo", "before"));
    return this.#undoing;
  }

  redo() {
    this.#undoing = this.#undoing.then(() => this.#apply("redo", "undo", "after"));
    return this.#undoing;
  }

  async #apply(take, giveBack, side) {
    if (this.gesture) return;
    if (!this.sync.sends) return this.board.say(this.sync.refuses);
    for (const change of this.history[take]() ?? []) {
      this.board.goTo(change.z);
      if (!(await this.masks.slices.loaded(change.z))) return this.history[giveBack]();
      if (change.area) {
        unpack(change[side], this.masks.made(change.feature, change.z), this.board.columns, change.area);
        this.#sendPixels(change.feature, change.z, change.area, change[side]);
      } else {
        this.#sendBoxes(change.feature, change.z, change[side]);
      }
      this.board.screen.stale("masks");
    }
  }

  save() {
    if (!this.sync.sends) return this.board.say(this.sync.refuses);
    this.board.say(this.sync.queue.length ? "" : "Everything is saved.");
    return this.sync.send();
  }

  #saving(state, problem, unsent) {
    Object.assign(this.board.state, { saving: state, problem, unsent });
    this.board.tell("saving", state);
  }

  /** The index of the active feature's box that holds this point, the nearest one first; -1 where there is none. */
  boxAt(point = this.board.pointer && this.board.view.toPixel(...this.board.pointer)) {
    const { active, screen } = this.board;
    return active && point && screen.shown !== null ? this.boxes.at(active, screen.shown, point) : -1;
  }

  clamped([x, y]) {
    const { columns, rows } = this.board;
    return [Math.min(columns - 1, Math.max(0, x)), Math.min(rows - 1, Math.max(0, y))];
  }

  /** Shows boxes that are not settled yet. */
  moveBox(feature, z, boxes, index) {
    this.boxes.set(feature, z, boxes);
    this.chosen = index;
    this.board.screen.stale("boxes");
  }

  commitBoxes(feature, z, before) {
    this.chosen = null;
    const after = this.boxes.of(feature, z);
    if (JSON.stringify(before) === JSON.stringify(after)) return;
    this.history.record([{ feature, z, before, after }]);
    this.#sendBoxes(feature, z, after);
  }

  #sendBoxes(feature, z, boxes) {
    this.boxes.set(feature, z, boxes);
    this.sync.push("boxes", { feature, z, boxes });
    this.#changed();
  }

  deleteBox(index = this.boxAt()) {
    const feature = index >= 0 && !this.gesture ? this.drawable() : null;
    if (!feature) return;
    const { shown } = this.board.screen;
    const before = this.boxes.of(feature.id, shown);
    this.boxes.set(feature.id, shown, before.toSpliced(index, 1));
    this.commitBoxes(feature.id, shown, before);
  }

  /** Whether the network says yes at (x, y), as a function; null, and why is said, where it is not known. */
  networkSays() {
    const { active, layers, options, z, columns, rows } = this.board;
    if (!active) return this.board.say(NO_FEATURE);
    const picture = layers.answer(active, z);
    if (picture === null) return this.board.say(`There is no network for ${active.title} yet: train one first.`);
    if (!picture) return this.board.say("The network's output for this slice is still being computed.");
    const { values, width, height } = picture;
    const least = options.level * 255;
    return (x, y) => {
      const column = Math.floor(((x + 0.5) * width) / columns);
      const row = Math.floor(((y + 0.5) * height) / rows);
      return values[row * width + column] > least;
    };
  }

  /** Takes what the network says in the active feature's box at this pixel. */
  acceptInBox(x, y) {
    const index = this.boxAt([x, y]);
    if (index < 0) return this.board.say("There is no box here: place one, or point at one.");
    return acceptWithin(this.board, [this.#boxesInView()[index]], this.board.active.box_size);
  }

  acceptInBoxes() {
    const boxes = this.#boxesInView();
    if (!boxes.length) return this.board.say("There is no box in this slice: place one first.");
    return acceptWithin(this.board, boxes, this.board.active.box_size);
  }

  #boxesInView() {
    const { active, screen } = this.board;
    return active ? this.boxes.of(active.id, screen.shown) : [];
  }

  acceptUnderPointer() {
    const { pointer, view } = this.board;
    if (pointer) this.acceptInBox(...view.toPixel(...pointer));
  }
}
