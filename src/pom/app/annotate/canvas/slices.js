/**
 * Fetches what belongs to slices (pictures, layers, masks): the one in view first, then its neighbours in the direction
 * of scrolling; what is no longer wanted is aborted. The last ones seen are kept, decoded.
 */
const AT_ONCE = 4;
const RETRY_MS = 1000;

export class Slices {
  #kept = new Map();
  #running = new Map();
  #wanted = [];
  #waiting = new Map();
  #refused = new Set();

  /**
   * @param options.url of slice z
   * @param options.decode from a Response to what is kept of it
   * @param options.depth number of slices
   * @param options.ahead, options.behind how many neighbours are fetched before they are asked for
   * @param options.keep how many slices are kept
   * @param options.pinned whether a slice may not be dropped
   * @param options.arrived, options.failed called with (z) and (z, sentence)
   */
  constructor(options) {
    this.options = { ahead: 8, behind: 3, keep: 64, pinned: () => false, failed: () => {}, ...options };
  }

  get(z) {
    const value = this.#kept.get(z);
    if (value !== undefined) {
      this.#kept.delete(z);
      this.#kept.set(z, value);
    }
    return value;
  }

  /** Says which slice is in view and where the next ones are, direction 1 or -1. */
  want(z, direction = 1) {
    const { ahead, behind, depth } = this.options;
    const near = [z];
    for (let i = 1; i <= ahead; i++) near.push(z + i * direction);
    for (let i = 1; i <= behind; i++) near.push(z - i * direction);
    this.#wanted = near.filter((other) => other >= 0 && other < depth);
    this.#refused.clear();
    this.#pump();
  }

  /** Slice z when it is there, which is fetched even if another is looked at meanwhile; undefined where it is refused. */
  async loaded(z) {
    if (this.#kept.has(z)) return this.get(z);
    return new Promise((resolve) => {
      this.#waiting.set(z, [...(this.#waiting.get(z) ?? []), resolve]);
      this.#refused.delete(z);
      this.#pump();
    });
  }

  close() {
    this.#wanted = [];
    this.#waiting.clear();
    for (const controller of this.#running.values()) controller.abort();
    this.#kept.clear();
  }

  #isNeeded(z) {
    return this.#waiting.has(z) || this.#wanted.includes(z);
  }

  #pump() {
    for (const [z, controller] of this.#running) {
      if (!this.#isNeeded(z)) {
        controller.abort();
        this.#running.delete(z);
      }
    }
    for (const z of [...this.#waiting.keys(), ...this.#wanted]) {
      if (this.#running.size >= AT_ONCE) break;
      if (!this.#kept.has(z) && !this.#running.has(z) && !this.#refused.has(z)) this.#fetch(z);
    }
  }

  async #fetch(z) {
    const controller = new AbortController();
    this.#running.set(z, controller);
    try {
      const response = await fetch(this.options.url(z), { signal: controller.signal });
      if (!response.ok) throw await refusal(response);
      const value = await this.options.decode(response, z);
      if (controller.signal.aborted) return;
      this.#running.delete(z);
      this.#keep(z, value);
    } catch (error) {
      if (controller.signal.aborted) return;
      this.#running.delete(z);
      this.#refused.add(z);
      this.options.failed(z, error.message);
      if (error.final) this.#settle(z, undefined);
      else this.#again(z);
    }
    this.#pump();
  }

  #again(z) {
    setTimeout(() => {
      this.#refused.delete(z);
      this.#pump();
    }, RETRY_MS);
  }

  #keep(z, value) {
    this.#kept.set(z, value);
    for (const old of this.#kept.keys()) {
      if (this.#kept.size <= this.options.keep) break;
      if (!this.#isNeeded(old) && !this.options.pinned(old)) this.#kept.delete(old);
    }
    this.options.arrived(z);
    this.#settle(z, value);
  }

  #settle(z, value) {
    for (const resolve of this.#waiting.get(z) ?? []) resolve(value);
    this.#waiting.delete(z);
  }
}

/** The server's sentence as an Error; `final` where asking again is no use. */
export async function refusal(response) {
  const sentence = await response.json().then(
    (body) => body.error,
    () => null,
  );
  const error = new Error(sentence || `The server answered ${response.status}.`);
  error.status = response.status;
  error.final = response.status < 500 && response.status !== 429;
  return error;
}
