/** Overlays: macromolecules, outputs, and what a network says, which the server computes on demand. */
import { decodeGrey } from "./images.js";
import { Slices } from "./slices.js";

/** A network's output costs the server seconds: it is asked for once the scrolling rests. */
const REST_MS = 250;
const AHEAD = 4;
const BEHIND = 2;
/** Of the slices of one layer, decoded; those that are fetched at a time are kept whatever their size. */
const KEPT_BYTES = 4e7;

export class Layers {
  #slices = new Map();
  #rest = null;

  constructor(board) {
    this.board = board;
  }

  /** Takes the props; fetches what is visible, and what the accept tool needs. */
  set(layers) {
    for (const [key, slices] of this.#slices) {
      if (layers.some((layer) => keyOf(layer) === key)) continue;
      slices.close();
      this.#slices.delete(key);
    }
    this.want(this.board.z ?? 0, 1);
    this.board.screen.stale("layers");
  }

  want(z, direction) {
    clearTimeout(this.#rest);
    for (const layer of this.#inUse()) if (layer.kind !== "network") this.#of(layer).want(z, direction);
    if (this.#networks().some((layer) => !this.#of(layer).get(z))) {
      this.#rest = setTimeout(() => this.#networks().forEach((layer) => this.#of(layer).want(this.board.z)), REST_MS);
    }
  }

  show(z) {
    const { layers, level } = this.board.options;
    const inUse = this.#inUse();
    for (const layer of layers) {
      const picture = inUse.includes(layer) && z !== null ? this.#slices.get(keyOf(layer))?.get(z) : null;
      this.board.screen.paper.showLayer(layer, picture ?? null, layer === this.#accepted() ? level : null);
    }
  }

  /** What the network says of a feature in slice z; undefined while that is computed, null where there is no network. */
  answer(feature, z) {
    const layer = this.#network(feature);
    if (!layer) return null;
    const picture = this.#of(layer).get(z);
    if (!picture) this.#of(layer).want(z);
    return picture;
  }

  close() {
    clearTimeout(this.#rest);
    for (const slices of this.#slices.values()) slices.close();
    this.#slices.clear();
  }

  /** Those that are visible, and what the accept tool would take. */
  #inUse() {
    return this.board.options.layers.filter((layer) => layer.visible || layer === this.#accepted());
  }

  #networks() {
    return this.#inUse().filter(({ kind }) => kind === "network");
  }

  #accepted() {
    return this.board.options.tool === "accept" ? this.#network(this.board.active) : null;
  }

  #network(feature) {
    return this.board.options.layers.find(({ kind, title }) => kind === "network" && title === feature?.title);
  }

  #of(layer) {
    const key = keyOf(layer);
    if (!this.#slices.has(key)) {
      const { depth, rows, columns, options } = this.board;
      const base = `/api/tomograms/${encodeURIComponent(options.tomogram.name)}/layers/${encodeURIComponent(layer.id)}`;
      const tag = encodeURIComponent(layer.tag ?? options.tomogram.tag);
      const [ahead, behind] = layer.kind === "network" ? [0, 0] : [AHEAD, BEHIND];
      this.#slices.set(
        key,
        new Slices({
          url: (z) => `${base}/${z}?v=${tag}`,
          decode: decodeGrey,
          depth,
          ahead,
          behind,
          keep: Math.max(ahead + 1 + behind, Math.floor(KEPT_BYTES / (rows * columns))),
          arrived: (z) => z === this.board.z && this.board.screen.stale("layers"),
          failed: (z, sentence) => z === this.board.z && this.board.say(`${layer.title} cannot be shown: ${sentence}`),
        }),
      );
    }
    return this.#slices.get(key);
  }
}

const keyOf = ({ id, tag }) => `${id} ${tag ?? ""}`;
