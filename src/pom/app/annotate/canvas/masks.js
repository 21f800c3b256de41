/** The drawn pixels: one mask per feature and slice, fetched when its slice comes near, changed here at once. */
import { fromBase64, unpack } from "./bits.js";
import { Slices } from "./slices.js";

/** Of the masks of one feature. */
const KEPT_BYTES = 2e7;

export class Masks {
  /** @param options {session, columns, rows, depth, sync, arrived, failed} */
  constructor({ session, columns, rows, depth, sync, arrived, failed }) {
    this.columns = columns;
    this.rows = rows;
    // What an earlier page could not send is newer than what the server has, once.
    this.leftOver = sync.unsent().filter(({ route }) => route === "patches");
    this.slices = new Slices({
      url: (z) => `/api/sessions/${encodeURIComponent(session)}/slices/${z}`,
      decode: (response, z) => this.#decode(response, z),
      depth,
      ahead: 4,
      behind: 2,
      keep: Math.max(8, Math.floor(KEPT_BYTES / (rows * columns))),
      pinned: (z) => sync.unsent(z).length > 0,
      arrived,
      failed,
    });
  }

  /** The mask of a feature in slice z; null where nothing was ever drawn; undefined while the slice is not there. */
  get(feature, z) {
    const masks = this.slices.get(z);
    return masks && (masks.get(feature) ?? null);
  }

  /** The mask to draw on, made where there is none; the slice must be there. */
  made(feature, z) {
    const masks = this.slices.get(z);
    if (!masks.has(feature)) masks.set(feature, new Uint8Array(this.columns * this.rows));
    return masks.get(feature);
  }

  async #decode(response, z) {
    const { features } = await response.json();
    const whole = { x: 0, y: 0, width: this.columns, height: this.rows };
    const masks = new Map();
    const add = (feature, bits, area) => {
      if (!masks.has(feature)) masks.set(feature, new Uint8Array(this.columns * this.rows));
      unpack(fromBase64(bits), masks.get(feature), this.columns, area);
    };
    for (const [feature, bits] of Object.entries(features)) add(feature, bits, whole);
    for (const { body } of this.leftOver) if (body.z === z) add(body.feature, body.bits, body);
    this.leftOver = this.leftOver.filter(({ body }) => body.z !== z);
    return masks;
  }
}
