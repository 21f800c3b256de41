/** Pointer and wheel on the stage, turned into what the board and its tools do. */
import { ROUND, TOOLS } from "./tools.js";

/** A touchpad sends many small turns: this many pixels of them are one slice. */
const TURN_PX = 40;
/** A larger turn is a notch of a wheel, which is one slice by itself. */
const NOTCH_PX = 60;

export class Gestures {
  #samples = [];
  #frame = null;
  #panning = null;
  #finger = null;
  #turned = 0;
  space = false;

  constructor(board) {
    this.board = board;
    const { stage } = board.elements;
    const listen = (name, handler) => stage.addEventListener(name, handler, { passive: false });
    listen("pointerdown", (event) => this.#down(event));
    listen("pointermove", (event) => this.#move(event));
    listen("pointerup", (event) => this.#up(event));
    listen("pointercancel", (event) => this.#up(event));
    listen("pointerleave", () => this.#leave());
    listen("wheel", (event) => this.#wheel(event));
    listen("contextmenu", (event) => event.preventDefault());
    listen("dblclick", ({ shiftKey }) => this.#doubleClick(shiftKey));
    board.showPointer = () => this.show();
  }

  hold(space) {
    this.space = space;
    this.show();
  }

  #place({ clientX, clientY }) {
    const { left, top } = this.board.elements.stage.getBoundingClientRect();
    return [clientX - left, clientY - top];
  }

  #down(event) {
    const { board } = this;
    const { stage } = board.elements;
    stage.focus({ preventScroll: true });
    event.preventDefault();
    if (board.drawing.gesture || this.#panning) return;
    stage.setPointerCapture(event.pointerId);
    this.#finger = event.pointerId;
    this.#samples = [];
    board.pointer = this.#place(event);
    if (event.button !== 0 || this.space || board.options.tool === "pan") {
      this.#panning = board.pointer;
    } else {
      board.drawing.gesture = TOOLS[board.options.tool](board, board.view.toPixel(...board.pointer), event);
    }
    board.screen.stale("marks");
  }

  #move(event) {
    const { board } = this;
    if (this.#isSecond(event)) return;
    const place = this.#place(event);
    board.pointer = place;
    if (this.#panning) {
      board.panBy(place[0] - this.#panning[0], place[1] - this.#panning[1]);
      this.#panning = place;
    } else if (board.drawing.gesture) {
      const events = event.getCoalescedEvents?.() ?? [];
      const points = (events.length ? events : [event]).map((one) => board.view.toPixel(...this.#place(one)));
      this.#samples.push(...points);
    }
    this.#frame ??= requestAnimationFrame(() => this.#draw());
  }

  /** Once a frame: the stroke reaches the pointer. */
  #draw() {
    this.#frame = null;
    const { board } = this;
    const samples = this.#samples.splice(0);
    if (board.drawing.gesture && samples.length) board.drawing.gesture.move(samples);
    if (board.drawing.polygon.length) board.screen.stale("marks");
    this.show();
  }

  #up(event) {
    const { board } = this;
    if (this.#isSecond(event)) return;
    if (this.#panning) {
      this.#panning = null;
    } else if (board.drawing.gesture) {
      this.#draw();
      if (event.type === "pointercancel") board.drawing.gesture.cancel();
      else board.drawing.gesture.end();
      board.drawing.gesture = null;
      board.screen.stale("boxes");
    }
    this.show();
  }

  /** Whether it is another finger than the one that draws. */
  #isSecond({ pointerId }) {
    return pointerId !== this.#finger && Boolean(this.board.drawing.gesture || this.#panning);
  }

  #leave() {
    if (this.board.drawing.gesture || this.#panning) return;
    this.board.pointer = null;
    this.show();
  }

  #doubleClick(erase) {
    const { board } = this;
    if (board.options.tool !== "polygon") return;
    board.drawing.polygon.pop(); // The second click of the two.
    board.drawing.closePolygon(erase);
  }

  #wheel(event) {
    event.preventDefault();
    const { board } = this;
    const turn = (event.deltaY || event.deltaX) * (event.deltaMode === 1 ? 33 : 1);
    board.pointer = this.#place(event);
    if (event.ctrlKey || event.metaKey) {
      board.zoom(Math.exp(-Math.min(100, Math.max(-100, turn)) / 400));
      return;
    }
    const steps = this.#steps(turn);
    if (!steps || board.drawing.gesture) return;
    if (event.shiftKey) board.resizeBrush(-steps);
    else board.step(-steps);
  }

  #steps(turn) {
    if (Math.abs(turn) >= NOTCH_PX) {
      this.#turned = 0;
      return Math.sign(turn);
    }
    this.#turned += turn;
    const steps = Math.trunc(this.#turned / TURN_PX);
    this.#turned -= steps * TURN_PX;
    return steps;
  }

  /** The circle of the brush or the outline of a box at the pointer, and where that is. */
  show() {
    const { board } = this;
    const { circle, position, stage } = board.elements;
    const { tool, may_edit: mayEdit } = board.options;
    const pans = this.space || this.#panning || tool === "pan";
    stage.dataset.cursor = pans ? (this.#panning ? "grabbing" : "grab") : mayEdit ? tool : "look";
    const feature = board.active;
    const round = ROUND.has(tool);
    const square = tool === "box" && !board.drawing.gesture && feature && board.drawing.boxAt() < 0;
    circle.hidden = !(board.pointer && mayEdit && !pans && (round || square));
    if (!circle.hidden) {
      const size = (round ? 2 * board.radius : feature.box_size) * board.view.scale;
      const [left, top] = board.pointer;
      circle.style.width = circle.style.height = `${size}px`;
      circle.style.transform = `translate(${left - size / 2}px, ${top - size / 2}px)`;
      circle.style.borderStyle = tool === "eraser" ? "dashed" : "solid";
      circle.style.borderRadius = round ? "50%" : "0";
    }
    position.textContent = board.pointer ? this.#where(board.view.toPixel(...board.pointer)) : "";
  }

  #where([x, y]) {
    const { board } = this;
    const [column, row] = [Math.round(x), Math.round(y)];
    if (!board.contains(column, row)) return "";
    const [voxelY, voxelX] = [board.voxel.at(-2) ?? board.voxelSize, board.voxelSize];
    return `x ${column}  y ${row} px  (${(column * voxelX).toFixed(1)}, ${(row * voxelY).toFixed(1)} nm)`;
  }
}
