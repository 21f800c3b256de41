/** The Vue component: props in, events out, and the few parts of the page about the slice. */
import { Board } from "pom-canvas/board.js";
import { Gestures } from "pom-canvas/gestures.js";
import { handleKey, listOfKeys } from "pom-canvas/keys.js";
import { Sync } from "pom-canvas/sync.js";
import { ROUND } from "pom-canvas/tools.js";

const style = document.createElement("link");
style.rel = "stylesheet";
style.href = import.meta.resolve("pom-canvas/style.css");
document.head.append(style);

/** Props that a person may also change here, and their events. */
const SHARED = { z: "z", tool: "tool", brush_size: "brush", active: "active", contrast: "contrast" };
const GIVEN = ["features", "sensitivity", "slab", "blur", "layers", "level", "version"];

const TAKES_SPACE = "button, a, input, textarea, select, [contenteditable=true], [role]:not(.pom-stage)";
const TOOL_NAMES = {
  brush: "Brush",
  eraser: "Eraser",
  magic: "Magic brush",
  accept: "Accept",
  polygon: "Polygon",
  fill: "Fill",
  box: "Boxes",
  pan: "Hand",
};
const SAVING = {
  saved: "Saved",
  saving: "Saving …",
  offline: "The server is away: what you draw waits for it",
  refused: "Not saved",
  waiting: "Not saved yet",
  held: "Not saved",
};

export default {
  template: `
    <div class="pom-canvas">
      <div v-if="unsent" class="pom-unsent" role="alert">
        <span>{{ unsent }}</span>
        <button v-if="state.saving === 'held'" type="button" @click="decide('overwrite')">Save mine over it</button>
        <button type="button" @click="decide('discard')">Discard mine</button>
      </div>
      <div v-else-if="state.left" class="pom-unsent" role="alert">
        <span>{{ left }}</span>
        <button v-if="state.left.name !== tomogram.name" type="button" @click="$emit('wanted', state.left.name)">
          Go to {{ state.left.name }}
        </button>
        <button type="button" @click="discardLeft">Discard</button>
      </div>
      <div ref="stage" class="pom-stage" tabindex="0" role="application" :aria-label="label">
        <div ref="paper" class="pom-paper"></div>
        <canvas ref="marks" class="pom-marks"></canvas>
        <div ref="circle" class="pom-circle" hidden></div>
        <div class="pom-notice" role="status" aria-live="polite" v-show="state.notice">{{ state.notice }}</div>
      </div>
      <div class="pom-scroller">
        <input type="range" min="0" :max="state.depth - 1" :value="state.z" orient="vertical" aria-label="Slice (z)"
               :aria-valuetext="'slice ' + state.z" @input="scroll" />
        <div class="pom-ticks" aria-hidden="true"><i v-for="tick in ticks" :style="tick"></i></div>
      </div>
      <div class="pom-status">
        <span class="pom-z">z {{ state.z }}<small> / {{ state.depth - 1 }}  ({{ heightInNm }} nm)</small></span>
        <span v-if="may_edit" class="pom-tool">{{ tool_shown }}</span>
        <span ref="position" class="pom-position"></span>
        <span class="pom-loading" v-show="state.loading">loading …</span>
        <span class="pom-space"></span>
        <span v-if="!may_edit" class="pom-readonly">Read-only: you can look, not draw</span>
        <span v-else class="pom-saving" :class="state.saving" :title="saving" role="status">{{ saving }}</span>
        <span>{{ Math.round(state.zoom * 100) }} %</span>
        <button type="button" aria-label="List of keys" @click="show_keys">?</button>
      </div>
      <dialog ref="keys" class="pom-keys" aria-label="Keys" @click="closeOutside">
        <header>
          <h2>Keys and mouse</h2>
          <button type="button" aria-label="Close" @click="$refs.keys.close()">✕</button>
        </header>
        <div class="pom-groups">
          <section v-for="{ group, rows } in list"><h3>{{ group }}</h3>
            <dl><template v-for="row in rows">
              <dt><kbd v-for="key in row.keys">{{ key }}</kbd></dt><dd>{{ row.says }}</dd>
            </template></dl>
          </section>
        </div>
      </dialog>
    </div>`,

  props: {
    tomogram: Object,
    session: String,
    may_edit: Boolean,
    version: Object,
    features: Array,
    active: String,
    tool: String,
    brush_size: Number,
    sensitivity: Number,
    slab: Number,
    contrast: Object,
    blur: Number,
    layers: Array,
    level: Number,
    z: Number,
    heard: Object,
  },
  /** `state` carries again, with a count, what the page may change too: see `tell`. */
  emits: ["state", "wanted", "saving", "undo_depth", ...Object.values(SHARED)],

  data: () => ({
    state: {
      z: 0,
      depth: 1,
      tool: "brush",
      active: null,
      brush: 1,
      zoom: 1,
      saving: "saved",
      problem: "",
      unsent: 0,
      left: null,
      notice: "",
      loading: true,
    },
    list: listOfKeys(),
    ticks: [],
  }),

  computed: {
    label() {
      const title = this.features.find(({ id }) => id === this.state.active)?.title ?? "no feature";
      return `Slice ${this.state.z} of ${this.tomogram.name}; ${title}; ${this.state.tool}. ? lists the keys.`;
    },
    tool_shown() {
      const { tool, brush } = this.state;
      return TOOL_NAMES[tool] + (ROUND.has(tool) ? ` ${Number(brush.toPrecision(3))} nm` : "");
    },
    heightInNm() {
      return (this.state.z * [this.tomogram.voxel_size_nm].flat()[0]).toFixed(1);
    },
    unsent() {
      const { saving, unsent } = this.state;
      if (!unsent) return "";
      const [changes, were, are] = unsent === 1 ? ["1 change", "was", "is"] : [`${unsent} changes`, "were", "are"];
      return saving === "held"
        ? `${changes} of yours ${were} not saved, and the annotation has changed since.`
        : `${changes} of this page ${are} not saved yet, waiting for the right to edit.`;
    },
    left() {
      const { name, count } = this.state.left;
      const [changes, them] = count === 1 ? ["1 change", "it"] : [`${count} changes`, "them"];
      if (name === this.tomogram.name) return `${changes} from before ${name} was replaced could not be saved.`;
      return `${changes} of ${name} could not be saved: go back there to save ${them}.`;
    },
    saving() {
      return SAVING[this.state.saving] + (this.state.problem ? `: ${this.state.problem}` : "");
    },
  },

  created() {
    this.sent = Object.fromEntries(Object.keys(SHARED).map((name) => [name, 0]));
  },

  mounted() {
    const tell = (event, value, name = event) => this.tell(event, value, name);
    this.board = new Board(this.$refs, this.state, tell, () => this.showTicks());
    this.board.open(this.$props);
    this.gestures = new Gestures(this.board);
    this.observer = new ResizeObserver(() => this.board.resized());
    this.observer.observe(this.$refs.stage);
    this.listeners = { keydown: this.keyDown, keyup: this.keyUp, blur: () => this.gestures.hold(false) };
    for (const [name, listener] of Object.entries(this.listeners)) addEventListener(name, listener);
    this.showTicks();
    for (const name of GIVEN) this.$watch(name, (value) => this.board.set({ [name]: value }));
    this.$watch("features", this.showTicks);
    this.$watch("heard", this.hear);
    this.$watch(() => `${this.tomogram.name} ${this.tomogram.tag} ${this.session} ${this.may_edit}`, this.reload);
  },

  beforeUnmount() {
    this.observer.disconnect();
    for (const [name, listener] of Object.entries(this.listeners)) removeEventListener(name, listener);
    this.board.close();
  },

  methods: {
    /** An event; with a count for what the page may change too, so that an older value of it is known when it comes. */
    tell(event, value, name) {
      if (name in SHARED) this.$emit("state", { name, value, count: ++this.sent[name] });
      this.$emit(event, value);
    },
    /** The page's values of what both change; those sent before the page heard of the latest change here do not count. */
    hear() {
      for (const name of Object.keys(SHARED)) {
        const differs = JSON.stringify(this[name]) !== JSON.stringify(this.board.options[name]);
        if (differs && (this.heard?.[name] ?? 0) >= this.sent[name]) this.board.set({ [name]: this[name] });
      }
    },
    showTicks() {
      const last = Math.max(1, this.tomogram.shape[0] - 1);
      const slices = this.features.flatMap(({ id, colour, drawn }) =>
        [...new Set([...this.board.drawing.boxes.slicesOf(id), ...(drawn ?? [])])].map((z) => ({ z, colour })),
      );
      this.ticks = slices.map(({ z, colour }) => ({ bottom: `${(100 * z) / last}%`, background: colour }));
    },
    scroll(event) {
      this.board.goTo(Number(event.target.value));
    },
    keyDown(event) {
      if (this.$refs.keys.open || !this.$el.offsetParent) return;
      if (event.code === "Space" && !event.target.closest?.(TAKES_SPACE)) {
        event.preventDefault();
        this.gestures.hold(true);
      } else {
        handleKey(this.board, event);
      }
    },
    keyUp(event) {
      if (event.code === "Space") this.gestures.hold(false);
    },
    closeOutside(event) {
      if (event.target === this.$refs.keys) this.$refs.keys.close();
    },

    /** What becomes of changes that could not be sent: `overwrite` or `discard`. */
    decide(what) {
      this.board.drawing.sync[what]();
      this.reload();
      this.$refs.stage.focus();
    },

    discardLeft() {
      Sync.discardLeft(this.state.left.key);
      this.$refs.stage.focus();
    },

    // Called by the page.
    go_to(z, x = null, y = null) {
      this.board.goTo(z);
      if (x !== null && y !== null) this.board.centre(x, y);
    },
    undo() {
      this.board.drawing.undo();
    },
    redo() {
      this.board.drawing.redo();
    },
    fit() {
      this.board.fit();
    },
    automatic_contrast() {
      this.board.automaticContrast();
    },
    accept_in_boxes() {
      this.board.drawing.acceptInBoxes();
    },
    show_keys() {
      this.$refs.keys.showModal();
    },
    read_again() {
      this.board.drawing.readAgain();
    },
    /** Reads pixels and boxes anew: after something else than this canvas changed them. */
    reload() {
      const { tomogram, z } = this.board.options;
      const sameSlice = tomogram.name === this.tomogram.name ? { z } : {};
      this.board.open({ ...this.$props, ...sameSlice });
      this.showTicks();
    },
  },
};
