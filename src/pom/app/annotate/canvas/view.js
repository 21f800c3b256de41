/**
 * Where the slice lies on the screen.
 *
 * Coordinates of pixels: the centre of pixel i is at i, y grows upwards. Coordinates on the screen: CSS pixels from the
 * left top corner of the stage, downwards.
 */
const CLOSEST = 64;

export class View {
  /** The pixel coordinate in the middle of the stage, CSS pixels per pixel, and the size of the stage. */
  x = 0;
  y = 0;
  scale = 1;
  width = 1;
  height = 1;
  /** Whether the whole slice is shown, and shall be when the stage changes its size. */
  whole = true;

  toPixel(left, top) {
    return [this.x + (left - this.width / 2) / this.scale, this.y - (top - this.height / 2) / this.scale];
  }

  toScreen(x, y) {
    return [this.width / 2 + (x - this.x) * this.scale, this.height / 2 - (y - this.y) * this.scale];
  }

  /** The whole of a slice of `columns` by `rows` pixels, with a small margin. */
  fit(columns, rows) {
    this.farthest = 0.5 * Math.min(this.width / columns, this.height / rows);
    this.scale = 1.94 * this.farthest;
    this.whole = true;
    this.x = (columns - 1) / 2;
    this.y = (rows - 1) / 2;
  }

  /** Enlarges by `factor`; the pixel at this place of the screen stays there. */
  zoomAt(left, top, factor) {
    const [x, y] = this.toPixel(left, top);
    this.scale = Math.min(CLOSEST, Math.max(this.farthest, this.scale * factor));
    this.whole = false;
    const [nowX, nowY] = this.toPixel(left, top);
    this.x += x - nowX;
    this.y += y - nowY;
  }

  /** Moves the slice with the pointer, but never wholly out of sight. */
  panBy(right, down, columns, rows) {
    this.whole = false;
    this.x = Math.min(columns, Math.max(-1, this.x - right / this.scale));
    this.y = Math.min(rows, Math.max(-1, this.y + down / this.scale));
  }

  /** For an element of one CSS pixel per pixel whose first row is y = 0. */
  transform() {
    const [left, top] = this.toScreen(-0.5, -0.5);
    return `translate(${left}px, ${top}px) scale(${this.scale}, ${-this.scale})`;
  }
}
