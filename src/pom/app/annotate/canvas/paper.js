/**
 * What is shown at the resolution of the slice: a canvas each for the picture, the layers and the masks.
 * The browser's compositor moves, enlarges and blends them, so that a stroke writes only the pixels that it changes.
 */
import { rgb, tintTable } from "./images.js";

export class Paper {
  #layers = new Map();
  #masks = new Map();

  constructor(element, columns, rows) {
    this.element = element;
    this.columns = columns;
    this.rows = rows;
    element.replaceChildren();
    element.style.width = `${columns}px`;
    element.style.height = `${rows}px`;
    this.picture = this.#canvas("picture");
  }

  place(view) {
    this.element.style.transform = view.transform();
    this.element.classList.toggle("pixels", view.scale >= 2);
  }

  showPicture({ values, width, height }, table) {
    fill(this.picture, values, width, height, table);
  }

  /**
   * @param picture of the layer, of its own size; null: nothing to show
   * @param level 0 to 1: what is above it stands out; null: as opaque as the value is high
   */
  showLayer({ id, colour, opacity }, picture, level) {
    const canvas = this.#of(this.#layers, id, "layer");
    canvas.style.opacity = opacity;
    canvas.hidden = !picture;
    if (picture) fill(canvas, picture.values, picture.width, picture.height, tintTable(colour, level));
  }

  /** @param mask null: nothing drawn; @param area only these pixels changed */
  showMask({ id, colour }, mask, area = { x: 0, y: 0, width: this.columns, height: this.rows }) {
    const canvas = this.#of(this.#masks, id, "mask");
    if (!mask) {
      canvas.getContext("2d").clearRect(0, 0, this.columns, this.rows);
      return;
    }
    const image = new ImageData(area.width, area.height);
    const pixels = new Uint32Array(image.data.buffer);
    const [red, green, blue] = rgb(colour);
    const drawn = (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
    for (let row = 0, i = 0; row < area.height; row++) {
      const start = (area.y + row) * this.columns + area.x;
      for (let column = 0; column < area.width; column++, i++) if (mask[start + column]) pixels[i] = drawn;
    }
    canvas.getContext("2d").putImageData(image, area.x, area.y);
  }

  styleMask({ id, alpha, visible }, shown) {
    const canvas = this.#of(this.#masks, id, "mask");
    canvas.style.opacity = alpha;
    canvas.hidden = !(visible && shown);
  }

  /** Drops the canvases of layers and features that are no longer there. */
  keepOnly(layers, features) {
    for (const [canvases, ids] of [[this.#layers, layers], [this.#masks, features]]) {
      for (const [id, canvas] of canvases) {
        if (ids.has(id)) continue;
        canvas.remove();
        canvases.delete(id);
      }
    }
  }

  #of(canvases, id, kind) {
    if (!canvases.has(id)) canvases.set(id, this.#canvas(kind));
    return canvases.get(id);
  }

  #canvas(kind) {
    const canvas = document.createElement("canvas");
    canvas.className = kind;
    canvas.width = this.columns;
    canvas.height = this.rows;
    this.element.append(canvas);
    return canvas;
  }
}

function fill(canvas, values, width, height, table) {
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = table[values[i]];
  canvas.getContext("2d").putImageData(image, 0, 0);
}
