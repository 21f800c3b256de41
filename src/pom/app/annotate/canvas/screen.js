/** What is in view: the slice with its masks and layers on paper, boxes over it; drawn anew in the next frame. */
import { blurred, contrastTable } from "./images.js";
import { drawMarks } from "./marks.js";
import { Paper } from "./paper.js";

export class Screen {
  /** The slice in view, which lags behind the one asked for while that is coming, and its grey values, blurred. */
  shown = null;
  grey = null;
  boxMarks = [];
  marksShown = true;
  #nearest = null;
  #seen = {};
  #stale = new Set();
  #frame = null;

  constructor(board) {
    this.board = board;
    this.paper = new Paper(board.elements.paper, board.columns, board.rows);
  }

  close() {
    cancelAnimationFrame(this.#frame);
  }

  /** Has a part shown anew: picture, masks, layers, boxes, marks or view. */
  stale(part) {
    this.#stale.add(part);
    this.#frame ??= requestAnimationFrame(() => this.#show());
  }

  /** A picture came: that of the slice asked for, or, while scrolling, one that is nearer to it than what is shown. */
  arrived(z) {
    const { z: goal } = this.board;
    if (z !== goal && (this.shown === null || Math.abs(z - goal) >= Math.abs(this.shown - goal))) return;
    this.#nearest = z;
    this.stale("picture");
  }

  #show() {
    this.#frame = null;
    const { board } = this;
    const stale = this.#stale;
    const any = (...parts) => parts.some((part) => stale.has(part));
    this.#stale = new Set();
    const best = [board.z, this.#nearest].find((z) => board.slices.get(z));
    if (any("picture") && best !== undefined) this.#showSlice(best);
    else if (any("masks")) this.#showMasks();
    if (any("picture", "layers")) board.layers.show(this.shown);
    if (any("view")) {
      this.paper.place(board.view);
      board.state.zoom = board.view.scale;
    }
    if (any("picture", "masks", "boxes")) this.boxMarks = this.#marksOfBoxes();
    if (any("picture", "masks", "boxes", "view", "marks")) this.#showMarks();
    board.showPointer?.();
    board.state.loading = this.shown !== board.z || !board.drawing.masks.slices.get(board.z);
  }

  #showSlice(z) {
    const picture = this.board.slices.get(z);
    const { blur, contrast } = this.board.options;
    if (this.#seen.picture !== picture || this.#seen.blur !== blur) {
      this.grey = blur > 0 ? blurred(picture, blur) : picture;
      this.#seen = { picture, blur };
    }
    this.shown = z;
    this.paper.showPicture(this.grey, contrastTable(contrast));
    this.#showMasks();
  }

  #showMasks() {
    if (this.shown === null) return;
    const { features, layers } = this.board.options;
    this.paper.keepOnly(new Set(layers.map(({ id }) => id)), new Set(features.map(({ id }) => id)));
    for (const feature of features) {
      this.paper.showMask(feature, this.board.drawing.masks.get(feature.id, this.shown) ?? null);
      this.paper.styleMask(feature, this.marksShown);
    }
  }

  #marksOfBoxes() {
    if (this.shown === null || !this.marksShown) return [];
    const { options, drawing, columns, rows } = this.board;
    const marksOf = (feature) => {
      const active = feature.id === options.active;
      const mask = drawing.masks.get(feature.id, this.shown);
      return drawing.boxes.of(feature.id, this.shown).map(([x, y], index) => ({
        x,
        y,
        side: feature.box_size,
        colour: feature.colour,
        title: feature.title,
        active,
        chosen: active && index === drawing.chosen,
        empty: mask !== undefined && drawing.boxes.isEmpty(mask, columns, rows, [x, y], feature.box_size),
      }));
    };
    const visible = options.features.filter((feature) => feature.visible);
    return visible.sort((one) => (one.id === options.active ? 1 : -1)).flatMap(marksOf);
  }

  #showMarks() {
    const { view, drawing, pointer, active, voxelSize, elements } = this.board;
    const next = drawing.polygon.length && pointer ? [view.toPixel(...pointer)] : [];
    drawMarks(elements.marks, view, {
      boxes: this.boxMarks,
      polygon: [...drawing.polygon, ...next],
      colour: active?.colour ?? "#ffffff",
      voxelSize,
    });
  }
}
