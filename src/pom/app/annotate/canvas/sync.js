/**
 * Sends changes to the server, one after the other, in the order in which they were made; while the server is away it
 * tries again, more and more rarely. What is not sent yet survives a reload of the page (the tab's session storage).
 *
 * With it the stamp is kept of the annotation that it was drawn on. If that has changed when the page gets the right to
 * edit again, somebody else has drawn meanwhile: nothing is sent before the person has said so.
 *
 * What could not be sent before its tomogram was left waits for the person to come back there, and they are told.
 */
import { refusal } from "./slices.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;
const TIMEOUT_MS = 20000;

const READ_ONLY = "Read-only: you can look, not draw.";
const UNDECIDED = "Say first what is to become of your unsaved changes: save or discard them.";

const PREFIX = "pom-unsent ";
/** States in which nothing is on its way, or it does not arrive. */
const STUCK = new Set(["offline", "refused", "waiting", "held"]);

const open = new Map();
/** What earlier pages of this tab could not send: the numbers of changes, until their tomograms are opened. */
const earlier = new Map();
for (const key of Object.keys(sessionStorage)) if (key.startsWith(PREFIX)) earlier.set(key, stored(key).queue.length);
let listener = () => {};

export class Sync {
  /**
   * The one of this session: a canvas that is built anew goes on with the queue of the old one.
   *
   * @param version {revision, stamp} of the annotation as the page knows it; null where it may only look
   * @param told called with (state, problem, unsent): "saved", "saving", "offline", "refused", "waiting" for the right to
   *   edit, or "held" for a decision; the number of changes that are not sent in the last two, else 0
   */
  static of(session, tomogram, version, told) {
    const sync = open.get(session) ?? new Sync(session, tomogram);
    open.set(session, sync);
    sync.told = told;
    if (version && sync.version) sync.moved(version);
    else sync.#turn(version);
    told(sync.state, sync.problem, sync.idle);
    sync.send();
    return sync;
  }

  /** Has `told` called after each change of what is not sent, of any tomogram; only the last one so is called. */
  static listen(told) {
    listener = told;
    told();
  }

  /** The first of the tomograms that were left with changes that could not be sent, {key, name, count}, or null. */
  static left(here) {
    const left = new Map(earlier);
    for (const sync of open.values()) if (sync !== here && STUCK.has(sync.state)) left.set(sync.key, sync.queue.length);
    const [key, count] = [...left].find(([, number]) => number > 0) ?? [];
    return key ? { key, name: key.slice(PREFIX.length, key.lastIndexOf(" ")), count } : null;
  }

  /** The person does not want any more what could not be sent of a tomogram that they have left. */
  static discardLeft(key) {
    const sync = [...open.values()].find((other) => other.key === key);
    if (sync) return sync.discard();
    sessionStorage.removeItem(key);
    earlier.delete(key);
    listener();
  }

  constructor(session, { name, tag }) {
    this.session = session;
    this.key = `${PREFIX}${name} ${tag}`;
    earlier.delete(this.key);
    const before = [...open.values()].find((other) => other.key === this.key);
    Object.assign(this, before?.#handOver() ?? stored(this.key));
    this.version = null;
    this.state = "saved";
    this.problem = "";
    this.idle = 0;
    this.turns = 0;
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

  /** Whether changes are sent: the page has the right to edit, and what waits was drawn on what is there. */
  get sends() {
    return Boolean(this.version && (!this.queue.length || this.stamp === this.version.stamp));
  }

  /** Why nothing may be drawn now; "" where it may. */
  get refuses() {
    if (!this.version) return READ_ONLY;
    if (!this.sends) return UNDECIDED;
    return this.state === "refused" ? `The server refuses what is drawn: ${this.problem}` : "";
  }

  /** @param route "patches" or "boxes"; @param body as the server takes it */
  push(route, body) {
    if (!this.queue.length) this.stamp = this.version.stamp;
    this.queue.push({ route, body });
    this.#store();
    this.send();
  }

  /** These features, ids, are there: what the server refuses of others is dropped. */
  knows(features) {
    this.features = features;
  }

  /** A change by this page, be it of the canvas or of a panel, has made this version, unless a later one is known. */
  moved(version) {
    if (!version || !this.version || version.revision <= this.version.revision) return;
    if (this.sends) this.stamp = version.stamp;
    this.version = version;
    this.#store();
  }

  /** What is going to be sent of a slice, or of all. */
  unsent(z = null) {
    return this.sends ? this.queue.filter(({ body }) => z === null || body.z === z) : [];
  }

  /** The person has decided that what was held is saved over what is there; it is then sent as any change. */
  overwrite() {
    this.stamp = this.version.stamp;
    this.#store();
    this.#begin();
  }

  /** The person has decided that what is held or waits is not wanted any more. */
  discard() {
    this.queue = [];
    this.#store();
    this.#begin();
  }

  /** Sends now, without waiting for the next try. */
  async send() {
    this.wake?.();
    if (this.running || !this.sends || !this.queue.length) return;
    this.running = true;
    let wait = FIRST_WAIT_MS;
    while (this.sends && this.queue.length) {
      const { turns } = this;
      const error = await this.#sendFirst();
      if (!error || turns !== this.turns) {
        wait = FIRST_WAIT_MS; // An error that belongs to an earlier turn says nothing about this one.
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
    let answer = null;
    try {
      answer = await this.#post(first);
    } catch (error) {
      const isGone = this.features?.has(first.body.feature) === false;
      if (!(error.final && isGone)) return error;
    }
    if (this.queue[0] === first) this.queue.shift();
    this.moved(answer);
    this.#store(true);
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
    return response.json();
  }

  #pause(milliseconds) {
    return new Promise((resolve) => {
      this.wake = resolve;
      setTimeout(resolve, milliseconds);
    });
  }

  /** The page has lost the right to edit, or has just got it. */
  #turn(version) {
    this.version = version;
    this.#begin();
  }

  #begin() {
    this.turns++;
    this.#say(this.queue.length ? "saving" : "saved");
  }

  /** A new session of the same tomogram goes on with this. */
  #handOver() {
    const { queue, stamp } = this;
    this.over = true;
    this.queue = [];
    open.delete(this.session);
    return { queue, stamp };
  }

  /** Keeps the queue; `sent`: its first is not to be sent again, even if there is no room for the others. */
  #store(sent = false) {
    if (this.over) return;
    try {
      if (sent || !this.queue.length) sessionStorage.removeItem(this.key);
      if (this.queue.length) sessionStorage.setItem(this.key, JSON.stringify({ queue: this.queue, stamp: this.stamp }));
      this.kept = true;
    } catch {
      this.kept = false;
      // The storage is full: the queue is then in this page only, which warns before it is left.
    }
    listener();
  }

  /** Tells a state of sending; where nothing is sent, why. */
  #say(state, problem = "") {
    const idle = this.sends ? 0 : this.queue.length;
    const [now, why] = idle ? [this.version ? "held" : "waiting", ""] : [state, problem];
    if (now === this.state && why === this.problem && idle === this.idle) return;
    Object.assign(this, { state: now, problem: why, idle });
    this.told(now, why, idle);
    listener();
  }
}

/** What an earlier page could not send, {queue, stamp}. */
function stored(key) {
  const kept = JSON.parse(sessionStorage.getItem(key) ?? "[]");
  // Earlier versions kept the queue alone: it is then not known what it was drawn on.
  return Array.isArray(kept) ? { queue: kept, stamp: null } : kept;
}
