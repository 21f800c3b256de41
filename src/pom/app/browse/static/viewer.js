// A tomogram slice by slice, with outputs laid over it. Row 0 of a picture is y = 0, which is at the bottom here.

const KEPT_BYTES = 4e8;
const PIXEL_BYTES = 4;
const AHEAD = 2; // slices fetched before they are wanted
const NOTCH = 40; // of the wheel
const AGAIN = 300; // ms, where the server has dropped what nobody seemed to want
const PAN = 40; // pixels of the screen, of a key

export class SliceView {
  /**
   * stage: the element; say: is given what is wrong, by the feature's title; shown: is called with each picture;
   * keptBytes: how much memory pictures may take.
   */
  constructor(stage, name, { say, shown, keptBytes = KEPT_BYTES }) {
    this.address = `/api/tomograms/${encodeURIComponent(name)}`;
    this.stage = stage;
    this.say = say;
    this.shown = shown;
    this.canvas = stage.querySelector('canvas');
    this.slider = stage.querySelector('[data-z]');
    this.text = stage.querySelector('[data-z-text]');
    this.picture = document.createElement('canvas'); // the slice with all that lies over it, at its own size
    this.over = new Map(); // by layer: its title, colour and opacity
    this.faulty = new Set(); // layers that cannot be read
    this.kept = new Map(); // pictures and the promises of them, the one that was used last at the end
    this.keptBytes = keptBytes;
    this.dropped = []; // pictures that are not kept any more, but perhaps about to be drawn
    this.view = { zoom: 1, x: 0, y: 0 };
    this.busy = false;
  }

  /** Looks up the tomogram; returns its layers. */
  async open(z) {
    const { shape, tag, layers, voxel_size_nm: nm } = await json(this.address);
    [this.depth, this.height, this.width] = shape;
    Object.assign(this, { tag, nm });
    this.tags = new Map(layers.map((layer) => [layer.id, layer]));
    this.picture.width = this.width;
    this.picture.height = this.height;
    this.slider.max = this.depth - 1;
    this.slider.disabled = false;
    this.listen();
    this.go(z ?? Math.floor(this.depth / 2));
    return layers;
  }

  go(z) {
    this.z = Math.min(Math.max(Math.round(z), 0), this.depth - 1);
    this.slider.value = this.z;
    this.text.textContent = `z ${this.z} of ${this.depth - 1}`;
    return this.refresh();
  }

  lay(id, title, colour, opacity) {
    this.over.set(id, { title, colour, opacity });
    return this.refresh();
  }

  take(id) {
    this.say(this.over.get(id)?.title, '');
    this.over.delete(id);
    this.faulty.delete(id);
    return this.refresh();
  }

  /** Shows the slice that is wanted now; of those wanted while one is fetched only the last. */
  async refresh() {
    this.wanted = true;
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.wanted) {
        this.wanted = false;
        await this.compose(this.z);
      }
    } finally {
      this.busy = false;
      this.release();
    }
    this.stage.dataset.shown = this.z;
    const slices = this.keptBytes / (PIXEL_BYTES * this.width * this.height * (1 + this.over.size));
    for (let step = 1; step <= Math.min(AHEAD, (slices - 1) / 2); step++) for (const z of [this.z + step, this.z - step]) this.fetchAhead(z);
  }

  async compose(z) {
    const layers = [...this.over];
    const grey = this.grey(z).then((image) => (this.say('', ''), image), (error) => (this.say('', error.message), null));
    const shades = layers.map(([id, layer]) => this.laid(id, layer, z));
    const [image, ...found] = await Promise.all([grey, ...shades]);
    const context = this.picture.getContext('2d');
    context.fillStyle = '#000';
    context.fillRect(0, 0, this.width, this.height);
    if (image) context.drawImage(image, 0, 0, this.width, this.height);
    found.forEach((shade, index) => {
      if (!shade) return;
      context.globalAlpha = layers[index][1].opacity;
      context.drawImage(shade, 0, 0, this.width, this.height);
    });
    context.globalAlpha = 1;
    this.draw();
    this.shown(this.picture, z);
  }

  /** A layer's shade; null where it cannot be read, which is asked for again once it is switched. */
  async laid(id, { title, colour }, z) {
    if (this.faulty.has(id)) return null;
    try {
      const shade = await this.shade(id, colour, z);
      this.say(title, '');
      return shade;
    } catch (error) {
      if (!this.over.has(id)) return null; // switched off meanwhile
      if (error.answered) this.faulty.add(id);
      this.say(title, error.message);
      return null;
    }
  }

  fetchAhead(z) {
    if (z < 0 || z >= this.depth) return;
    this.grey(z).catch(() => null);
    for (const [id, { colour }] of this.over) if (!this.faulty.has(id)) this.shade(id, colour, z).catch(() => null);
  }

  grey(z) {
    return this.keep(`grey ${z}`, () => image(`${this.address}/slices/${z}?v=${encodeURIComponent(this.tag)}`));
  }

  /** A layer as a colour that is the more opaque, the surer the network is. */
  shade(id, colour, z) {
    return this.keep(`${id} ${colour} ${z}`, async () => {
      const source = await image(`${this.address}/layers/${encodeURIComponent(id)}/${z}`);
      const canvas = new OffscreenCanvas(source.width, source.height);
      const context = canvas.getContext('2d', { willReadFrequently: true });
      context.drawImage(source, 0, 0);
      const pixels = context.getImageData(0, 0, source.width, source.height);
      const words = new Uint32Array(pixels.data.buffer);
      const paint = parseInt(colour.slice(5, 7) + colour.slice(3, 5) + colour.slice(1, 3), 16); // little-endian
      for (let index = 0; index < words.length; index++) words[index] = ((words[index] & 255) << 24) | paint;
      context.putImageData(pixels, 0, 0);
      source.close();
      return canvas.transferToImageBitmap();
    });
  }

  keep(key, make) {
    const entry = this.kept.get(key) ?? this.begin(key, make());
    this.kept.delete(key);
    this.kept.set(key, entry);
    return entry.promise;
  }

  begin(key, promise) {
    const entry = { promise, picture: null };
    const arrived = (picture) => {
      entry.picture = picture;
      this.trim();
    };
    promise.then(arrived, () => this.kept.delete(key)); // what failed may be there the next time
    return entry;
  }

  /** Drops the pictures that were not used for longest. */
  trim() {
    let bytes = 0;
    for (const [key, { picture }] of [...this.kept].reverse()) {
      if (!picture) continue;
      bytes += PIXEL_BYTES * picture.width * picture.height;
      if (bytes <= this.keptBytes) continue;
      this.kept.delete(key);
      this.dropped.push(picture);
    }
    if (!this.busy) this.release();
  }

  /** Gives the memory of what was dropped back at once; by itself the browser would do so much later. */
  release() {
    for (const picture of this.dropped.splice(0)) picture.close();
  }

  /** The size of a pixel of the slice on the screen, and where the slice's corner at the top left is. */
  place() {
    const { clientWidth, clientHeight } = this.canvas;
    const scale = Math.min(clientWidth / this.width, clientHeight / this.height) * this.view.zoom;
    const left = (clientWidth - this.width * scale) / 2 + this.view.x;
    return { scale, left, top: (clientHeight - this.height * scale) / 2 + this.view.y };
  }

  draw() {
    const ratio = devicePixelRatio;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const context = this.canvas.getContext('2d');
    const { scale, left, top } = this.place();
    context.setTransform(ratio * scale, 0, 0, -ratio * scale, ratio * left, ratio * (top + this.height * scale));
    context.imageSmoothingEnabled = scale * ratio < 4;
    context.imageSmoothingQuality = 'high';
    context.drawImage(this.picture, 0, 0);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.drawScale(context, scale / this.nm, height);
  }

  /** A bar of a round length, about a fifth as wide as the stage. */
  drawScale(context, perNm, height) {
    const most = this.canvas.clientWidth / 5 / perNm;
    const power = 10 ** Math.floor(Math.log10(most));
    const length = power * [5, 2, 1].find((digit) => digit * power <= most);
    const width = length * perNm;
    context.fillStyle = 'rgb(0 0 0 / .55)';
    context.fillRect(10, height - 36, width + 16, 28);
    context.fillStyle = '#f2f2f2';
    context.fillRect(18, height - 15, width, 3);
    context.font = '12px system-ui, sans-serif';
    context.textAlign = 'center';
    context.fillText(length >= 1000 ? `${length / 1000} µm` : `${length} nm`, 18 + width / 2, height - 20);
  }

  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const before = this.place();
    this.view.zoom = Math.min(Math.max(this.view.zoom * factor, 1), 40);
    const after = this.place();
    const grown = after.scale / before.scale;
    if (this.view.zoom === 1) Object.assign(this.view, { x: 0, y: 0 });
    else {
      this.view.x += x - after.left - (x - before.left) * grown;
      this.view.y += y - after.top - (y - before.top) * grown;
    }
    this.draw();
  }

  fit() {
    this.view = { zoom: 1, x: 0, y: 0 };
    this.draw();
  }

  listen() {
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    this.slider.addEventListener('input', () => this.go(Number(this.slider.value)));
    this.stage.addEventListener('keydown', (event) => this.key(event));
    let rest = 0;
    this.canvas.addEventListener('wheel', (event) => {
      event.preventDefault();
      if (event.ctrlKey) return this.zoom(1.0015 ** -event.deltaY, event.offsetX, event.offsetY);
      rest += event.deltaMode ? event.deltaY * NOTCH : event.deltaY;
      // Half a notch is enough for the first step; a wheel's notch is one slice, however far it says it went.
      if (Math.abs(rest) < NOTCH / 2) return;
      this.go(this.z - Math.sign(rest));
      rest = 0;
    }, { passive: false });
    this.canvas.addEventListener('dblclick', () => this.fit());
    this.canvas.addEventListener('pointerdown', (event) => {
      if (event.button === 0) this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener('pointermove', (event) => {
      if (!this.canvas.hasPointerCapture(event.pointerId) || this.view.zoom === 1) return;
      this.move(event.movementX, event.movementY);
    });
  }

  /** Moves an enlarged slice by pixels of the screen. */
  move(x, y) {
    this.view.x += x;
    this.view.y += y;
    this.draw();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10, Home: -this.depth, End: this.depth };
    const moves = { ArrowUp: [0, PAN], ArrowDown: [0, -PAN], ArrowLeft: [PAN, 0], ArrowRight: [-PAN, 0] };
    const others = { '+': () => this.zoom(1.25), '=': () => this.zoom(1.25), '-': () => this.zoom(0.8), 0: () => this.fit() };
    if (!(event.key in steps) && !(event.key in others)) return;
    event.preventDefault();
    if (event.shiftKey && event.key in moves) return void (this.view.zoom > 1 && this.move(...moves[event.key]));
    if (event.key in steps) this.go(this.z + steps[event.key]);
    else others[event.key]();
  }
}

export async function json(address) {
  const answer = await ask(address);
  return answer.json();
}

async function image(address) {
  const answer = await ask(address);
  return createImageBitmap(await answer.blob());
}

/** What the server answers; an error is its sentence, and has `answered` where the server is there. */
export async function ask(address) {
  const answer = await fetch(address).catch(() => null);
  if (!answer) throw new Error('The server does not answer: is pom browse still running?');
  if (answer.ok) return answer;
  if (answer.status === 503) {
    await new Promise((resolve) => setTimeout(resolve, AGAIN));
    return ask(address);
  }
  const sentence = (await answer.json().catch(() => null))?.error ?? `The server answers ${answer.status}.`;
  throw Object.assign(new Error(sentence), { answered: true });
}
