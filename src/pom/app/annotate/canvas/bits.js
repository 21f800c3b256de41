/** Masks as they travel: base64 of bits, the first pixel in the highest bit, as NumPy's packbits. */

/** The packed pixels of a rectangle {x, y, width, height} of a mask, row by row without gaps. */
export function pack(mask, columns, { x, y, width, height }) {
  const bytes = new Uint8Array(Math.ceil((width * height) / 8));
  let bit = 0;
  for (let row = y; row < y + height; row++) {
    const end = row * columns + x + width;
    for (let i = row * columns + x; i < end; i++, bit++) {
      if (mask[i]) bytes[bit >> 3] |= 128 >> (bit & 7);
    }
  }
  return bytes;
}

/** Sets the rectangle of a mask to packed pixels. */
export function unpack(bytes, mask, columns, { x, y, width, height }) {
  let bit = 0;
  for (let row = y; row < y + height; row++) {
    const end = row * columns + x + width;
    for (let i = row * columns + x; i < end; i++, bit++) mask[i] = (bytes[bit >> 3] >> (7 - (bit & 7))) & 1;
  }
}

export function toBase64(bytes) {
  const parts = [];
  for (let i = 0; i < bytes.length; i += 0x8000) parts.push(String.fromCharCode(...bytes.subarray(i, i + 0x8000)));
  return btoa(parts.join(""));
}

export function fromBase64(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}
