/**
 * The drawing board: which tomogram and slice are open, and the settings. What is drawn is in `drawing`, what is seen in
 * `screen`; pointer and keys (gestures.js, keys.js) come from outside.
 */
import { Drawing } from "./drawing.js";
import { decodeGrey, percentiles } from "./images.js";
import { Layers } from "./layers.js";
import { Screen } from "./screen.js";
import { Slices } from "./slices.js";
import { View } from "./view.js";

const NOTICE_MS = 5000;
const OUTSIDE_SHARE = 0.005;
const SMALLEST_RADIUS = 0.75;
/** Of slices, decoded, so that scrolling back is instant. */
const KEPT_BYTES = 1e8;

export class Board {
  view = new View();
  /** Where the pointer is on the stage, or null. */
  pointer = null;

  /**
   * @param elements {stage, paper, marks, circle, position}
   * @param state what the component shows: {z, depth, zoom, saving, problem, unsent, left, notice, loading}
   * @param tell called with (event, value) for what a person did here
   * @param changed called after each change of what is drawn
   */
  constructor(elements, state, tell, changed) {
    Object.assign(this, { elements, state, tell, changed });
  }

  // Opening and closing

  /** @param options all props of the component */
  open(options) {
    this.close();
    this.options = { ...options };
    const { tomogram } = options;
    const [depth, rows, columns] = tomogram.shape;
    Object.assign(this, { depth, rows, columns, z: null });
    Object.assign(this.state, { depth, tool: options.tool, active: options.active, brush: options.brush_size });
    this.voxel = [tomogram.voxel_size_nm].flat();
    this.voxelSize = this.voxel.at(-1);
    this.view.whole = true;
    this.screen = new Screen(this);
    this.drawing = new Drawing(this);
    this.layers = new Layers(this);
    this.#openSlices();
    this.layers.set(options.layers);
    this.goTo(options.z ?? Math.floor(depth / 2), options.z == null);
    this.resized();
  }

  #openSlices() {
    this.slices?.close();
    const { tomogram, slab } = this.options;
    const name = encodeURIComponent(tomogram.name);
    this.slices = new Slices({
      url: (z) => `/api/tomograms/${name}/slices/${z}?slab=${slab}&v=${encodeURIComponent(tomogram.tag)}`,
      decode: decodeGrey,
      depth: this.depth,
      keep: Math.max(16, Math.floor(KEPT_BYTES / (this.rows * this.columns))),
      arrived: (z) => this.screen.arrived(z),
      failed: (z, sentence) => z === this.z && this.say(`Slice ${z} did not come: ${sentence}`),
    });
  }

  close() {
    for (const part of [this.drawing, this.slices, this.layers, this.screen]) part?.close(); // The stroke in hand first.
  }

  /** Takes changed props, apart from those that open another tomogram or session. */
  set(changes) {
    Object.assign(this.options, changes);
    if ("z" in changes) this.goTo(changes.z, false);
    if ("slab" in changes) {
      this.#openSlices();
      this.screen.shown = null;
      this.slices.want(this.z);
    }
    if ("features" in changes) this.drawing.takeFeatures(changes.features);
    if ("version" in changes) this.drawing.sync.moved(changes.version);
    if ("tool" in changes || "active" in changes) {
      this.drawing.endGesture();
      Object.assign(this.state, { tool: this.options.tool, active: this.options.active });
    }
    if ("layers" in changes || "tool" in changes || "active" in changes) this.layers.set(this.options.layers);
    if ("level" in changes) this.screen.stale("layers");
    if ("contrast" in changes || "blur" in changes) this.screen.stale("picture");
    this.state.brush = this.options.brush_size;
    this.screen.stale("boxes");
  }

  /** What a person changed here: shown, and told to the page. */
  change(name, value, event = name) {
    this.set({ [name]: value });
    this.tell(event, value, name);
  }

  // Features

  get active() {
    return this.options.features.find(({ id }) => id === this.options.active);
  }

  /** Of the brush, in pixels; never so small that it holds no pixel. */
  get radius() {
    return Math.max(SMALLEST_RADIUS, this.options.brush_size / this.voxelSize / 2);
  }

  activate(index) {
    const feature = this.options.features[index];
    if (feature) this.change("active", feature.id);
  }

  toggleMarks() {
    this.screen.marksShown = !this.screen.marksShown;
    this.say(this.screen.marksShown ? "" : "All that is drawn is hidden: V shows it again.");
    this.screen.stale("masks");
  }

  // Where one is

  goTo(z, tell = true) {
    const next = Math.min(this.depth - 1, Math.max(0, Math.round(z)));
    if (next === this.z) return;
    this.drawing.endGesture();
    const direction = next < this.z ? -1 : 1;
    this.z = this.options.z = this.state.z = next;
    this.slices.want(next, direction);
    this.drawing.masks.slices.want(next, direction);
    this.layers.want(next, direction);
    this.screen.stale("picture");
    if (tell) this.tell("z", next);
  }

  step(by) {
    if (this.drawing.polygon.length) this.say("Close the polygon (Enter) or give it up (Esc) first.");
    else this.goTo(this.z + by);
  }

  centre(x, y) {
    Object.assign(this.view, { x, y, whole: false });
    this.screen.stale("view");
  }

  zoom(factor, at = this.pointer) {
    const [left, top] = at ?? [this.view.width / 2, this.view.height / 2];
    this.view.zoomAt(left, top, factor);
    this.screen.stale("view");
  }

  panBy(right, down) {
    this.view.panBy(right, down, this.columns, this.rows);
    this.screen.stale("view");
  }

  fit() {
    this.view.fit(this.columns, this.rows);
    this.screen.stale("view");
  }

  resized() {
    const { clientWidth, clientHeight } = this.elements.stage;
    if (!clientWidth || !clientHeight || !this.columns) return;
    this.view.width = clientWidth;
    this.view.height = clientHeight;
    if (this.view.whole) this.view.fit(this.columns, this.rows);
    this.screen.stale("view");
  }

  contains(column, row) {
    return column >= 0 && row >= 0 && column < this.columns && row < this.rows;
  }

  // Contrast and tools

  automaticContrast() {
    const { grey } = this.screen;
    if (grey) this.change("contrast", { ...this.options.contrast, ...percentiles(grey, OUTSIDE_SHARE) });
  }

  invert() {
    this.change("contrast", { ...this.options.contrast, inverted: !this.options.contrast.inverted });
  }

  choose(tool) {
    this.change("tool", tool);
  }

  resizeBrush(steps) {
    const smallest = 2 * SMALLEST_RADIUS * this.voxelSize;
    const size = Math.max(this.options.brush_size, smallest) * 1.12 ** steps;
    const largest = this.columns * this.voxelSize;
    this.change("brush_size", Number(Math.min(largest, Math.max(smallest, size)).toPrecision(3)), "brush");
  }

  /** Shows a sentence for a while; gives null. */
  say(sentence) {
    this.state.notice = sentence;
    clearTimeout(this.forget);
    this.forget = setTimeout(() => (this.state.notice = ""), NOTICE_MS);
    return null;
  }
}
