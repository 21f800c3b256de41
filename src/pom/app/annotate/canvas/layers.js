/** Overlays: macromolecules, outputs, and what a network says, which the server computes on demand. */
import { decodeGrey } from "./images.js";
import { Slices } from "./slices.js";

/** A network's output costs the server seconds: it is asked for once the scrolling rests. */
const REST_MS = 250;

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
    for (const layer of this.#inUse()) {
      const slices = this.#of(layer);
      if (layer.kind !== "network") slices.want(z, direction);
      else if (!slices.get(z)) this.#rest = setTimeout(() => this.#wantAll(z), REST_MS);
    }
  }

  #wantAll(z) {
    for (const layer of this.#inUse()) this.#of(layer).want(z);
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

  #accepted() {
    return this.board.options.tool === "accept" ? this.#network(this.board.active) : null;
  }

  #network(feature) {
    return this.board.options.layers.find(({ kind, title }) => kind === "network" && title === feature?.title);
  }

  #of(layer) {
    const key = keyOf(layer);
    if (!this.#slices.has(key)) {
      const { depth, options } = this.board;
      const base = `/api/tomograms/${encodeURIComponent(options.tomogram.name)}/layers/${encodeURIComponent(layer.id)}`;
      const tag = encodeURIComponent(layer.tag ?? options.tomogram.tag);
      const network = layer.kind === "network";
      this.#slices.set(
        key,
        new Slices({
          url: (z) => `${base}/${z}?v=${tag}`,
          decode: decodeGrey,
          depth,
          ahead: network ? 0 : 4,
          behind: network ? 0 : 2,
          keep: 24,
          arrived: (z) => z === this.board.z && this.board.screen.stale("layers"),
          failed: (z, sentence) => z === this.board.z && this.board.say(`${layer.title} cannot be shown: ${sentence}`),
        }),
      );
    }
    return this.#slices.get(key);
  }
}

const keyOf = ({ id, tag }) => `${id} ${tag ?? ""}`;
