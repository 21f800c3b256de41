/**
 * What can be undone: each step a list of changes, of pixels {feature, z, area, before, after} (packed bits) or of boxes
 * {feature, z, before, after} (lists of centres, no area).
 */
const DEPTH = 50;

export class History {
  #done = [];
  #undone = [];

  /** @param told called with {undo, redo}, the numbers of steps, whenever they change */
  constructor(told) {
    this.told = told;
  }

  record(changes) {
    this.#done.push(changes);
    if (this.#done.length > DEPTH) this.#done.shift();
    this.#undone = [];
    this.#tell();
  }

  /** The changes to take back, last first, or null. */
  undo() {
    const changes = this.#done.pop();
    if (!changes) return null;
    this.#undone.push(changes);
    this.#tell();
    return changes.toReversed();
  }

  /** The changes to make again, or null. */
  redo() {
    const changes = this.#undone.pop();
    if (!changes) return null;
    this.#done.push(changes);
    this.#tell();
    return changes;
  }

  /** Drops the changes of features that are no longer there. */
  keepOnly(features) {
    const rest = (steps) =>
      steps.map((step) => step.filter((change) => features.has(change.feature))).filter((step) => step.length);
    this.#done = rest(this.#done);
    this.#undone = rest(this.#undone);
    this.#tell();
  }

  #tell() {
    this.told({ undo: this.#done.length, redo: this.#undone.length });
  }
}
