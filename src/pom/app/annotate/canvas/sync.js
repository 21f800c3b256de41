/**
 * Sends changes to the server, one after the other, in the order in which they were made; while the server is away it
 * tries again, more and more rarely. What is not sent yet survives a reload of the page (the tab's session storage).
 */
import { refusal } from "./slices.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;
const TIMEOUT_MS = 20000;

const open = new Map();

export class Sync {
  /** The one of this session: a canvas that is built anew goes on with the queue of the old one. */
  static of(session, tomogram, told) {
    const sync = open.get(session) ?? new Sync(session, tomogram);
    for (const old of open.values()) if (old !== sync && old.key === sync.key) old.#handOver();
    open.set(session, sync);
    sync.told = told;
    told(sync.state, sync.problem);
    if (sync.queue.length) sync.send();
    return sync;
  }

  constructor(session, { name, tag }) {
    this.session = session;
    this.key = `pom-unsent ${name} ${tag}`;
    this.queue = JSON.parse(sessionStorage.getItem(this.key) ?? "[]");
    this.state = "saved";
    this.problem = "";
    this.told = () => {};
    this.running = false;
    this.over = false;
    this.reloads = false;
    this.kept = true;
    this.features = null;
    // What is kept outlives the reload with which a page answers the return of its server; closing it does not.
    globalThis.navigation?.addEventListener("navigate", ({ navigationType }) => (this.reloads = navigationType === "reload"));
    addEventListener("beforeunload", (event) => {
      if (this.queue.length && !(this.reloads && this.kept)) event.preventDefault();
    });
    addEventListener("online", () => this.send());
  }

  /** @param route "patches" or "boxes"; @param body as the server takes it */
  push(route, body) {
    this.queue.push({ route, body });
    this.#store();
    this.send();
  }

  /** These features, ids, are there: what the server refuses of others is dropped. */
  knows(features) {
    this.features = features;
  }

  /** What is not sent yet of a slice, or of all. */
  unsent(z = null) {
    return this.queue.filter(({ body }) => z === null || body.z === z);
  }

  /** Sends now, without waiting for the next try. */
  async send() {
    this.wake?.();
    if (this.running || !this.queue.length) return;
    this.running = true;
    let wait = FIRST_WAIT_MS;
    while (this.queue.length) {
      const error = await this.#sendFirst();
      if (!error) {
        wait = FIRST_WAIT_MS;
      } else if (error.final) {
        this.running = false;
        this.#say("refused", error.message);
        return;
      } else {
        this.#say("offline");
        await this.#pause(wait);
        wait = Math.min(LONGEST_WAIT_MS, 2 * wait);
      }
    }
    this.running = false;
    this.#say("saved");
  }

  /** The error where the first of the queue could not be sent; it then stays there. */
  async #sendFirst() {
    const [first] = this.queue;
    if (this.state !== "offline") this.#say("saving");
    try {
      await this.#post(first);
    } catch (error) {
      const isGone = this.features?.has(first.body.feature) === false;
      if (!(error.final && isGone)) return error;
    }
    if (this.queue[0] === first) this.queue.shift();
    this.#store();
    this.#say("saving");
    return null;
  }

  async #post({ route, body }) {
    const response = await fetch(`/api/sessions/${encodeURIComponent(this.session)}/${route}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (!response.ok) throw await refusal(response);
  }

  #pause(milliseconds) {
    return new Promise((resolve) => {
      this.wake = resolve;
      setTimeout(resolve, milliseconds);
    });
  }

  /** A new session of the same tomogram has read the queue from the storage. */
  #handOver() {
    this.over = true;
    this.queue = [];
  }

  #store() {
    if (this.over) return;
    try {
      if (this.queue.length) sessionStorage.setItem(this.key, JSON.stringify(this.queue));
      else sessionStorage.removeItem(this.key);
      this.kept = true;
    } catch {
      this.kept = false;
      // The storage is full: the queue is then in this page only, which warns before it is left.
    }
  }

  #say(state, problem = "") {
    if (state === this.state && problem === this.problem) return;
    this.state = state;
    this.problem = problem;
    this.told(state, problem);
  }
}
