/** The boxes of the features: per slice a list of centres [x, y]. Lists are replaced, never changed. */
import { within } from "./shapes.js";

export class Boxes {
  #features = new Map();

  /** @param features as in the props; @param unsent what an earlier page could not send */
  constructor(features, unsent) {
    this.add(features);
    for (const { route, body } of unsent) {
      if (route === "boxes" && this.#features.has(body.feature)) this.set(body.feature, body.z, body.boxes);
    }
  }

  /** Takes in the boxes of features that were not there; of the others the boxes here are newer than the props. */
  add(features) {
    const old = this.#features;
    this.#features = new Map();
    for (const { id, boxes } of features) {
      const given = Object.entries(boxes ?? {}).map(([z, centres]) => [Number(z), centres]);
      this.#features.set(id, old.get(id) ?? new Map(given));
    }
  }

  of(feature, z) {
    return this.#features.get(feature)?.get(z) ?? [];
  }

  set(feature, z, centres) {
    this.#features.get(feature)?.set(z, centres);
  }

  /** The slices in which a feature has boxes. */
  slicesOf(feature) {
    return [...(this.#features.get(feature) ?? [])].filter(([, centres]) => centres.length).map(([z]) => z);
  }

  /** The index of the box that holds the point, of several the one whose centre is nearest; -1 where there is none. */
  at({ id, box_size: side }, z, [x, y]) {
    const distances = this.of(id, z).map(([boxX, boxY]) => {
      const [left, bottom] = [Math.floor(boxX - side / 2) - 0.5, Math.floor(boxY - side / 2) - 0.5];
      const inside = x >= left && y >= bottom && x <= left + side && y <= bottom + side;
      return inside ? Math.hypot(x - boxX, y - boxY) : Infinity;
    });
    const nearest = Math.min(...distances);
    return nearest < Infinity ? distances.indexOf(nearest) : -1;
  }

  /** Whether no pixel of the mask (null: nothing drawn) lies within the box. */
  isEmpty(mask, columns, rows, [x, y], side) {
    const [left, bottom] = [Math.floor(x - side / 2), Math.floor(y - side / 2)];
    const area = within({ width: columns, height: rows }, left, bottom, left + side - 1, bottom + side - 1);
    if (!mask || !area) return true;
    for (let row = area.y; row < area.y + area.height; row++) {
      const start = row * columns + area.x;
      if (mask.subarray(start, start + area.width).includes(1)) return false;
    }
    return true;
  }
}
