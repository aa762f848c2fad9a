// Drawing masks and regions on a camera's picture with mouse, finger or keyboard. Nothing of it is sent to edged.
import { DrawPanel } from "./draw-panel.js";
import { Drawing } from "./drawing.js";
import { Overlay } from "./overlay.js";

const REACH = { mouse: 12, pen: 16, touch: 26 }; // pixels of the screen by which a pointer may miss a corner
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const FAST = 10; // with the shift key

export class DrawOn {
  #surface;
  #overlay;
  #panel;
  #drawing = new Drawing(() => this.#show());
  #camera = null;
  #file = "";

  /** Shapes are drawn on `surface`; `element` has the tools. */
  constructor(surface) {
    this.#surface = surface;
    this.#overlay = new Overlay(surface);
    this.#panel = new DrawPanel(this.#drawing, { begun: () => this.#toPicture(), selected: () => this.#overlay.focus(null) });
    this.element = this.#panel.element;
    this.#listen();
  }

  /** `file` is the config's, to be named. */
  follow(camera, file) {
    [this.#camera, this.#file] = [camera, file];
    this.#drawing.follow(camera);
  }

  #show() {
    const { tool, draft } = this.#drawing;
    this.#surface.classList.toggle("drawing", tool !== null);
    this.#surface.classList.toggle("editing", tool !== null || draft.shape !== null); // a finger draws, and does not scroll
    this.#overlay.show(this.#drawing);
    if (this.#camera) this.#panel.show(this.#camera, this.#file);
  }

  #toPicture() {
    this.#surface.scrollIntoView({ block: "nearest" });
    this.#surface.focus({ preventScroll: true });
  }

  #listen() {
    const surface = this.#surface;
    surface.addEventListener("pointerdown", (event) => this.#down(event));
    surface.addEventListener("pointermove", (event) => surface.hasPointerCapture(event.pointerId) && this.#drawing.move(this.#point(event)));
    surface.addEventListener("pointerup", (event) => surface.hasPointerCapture(event.pointerId) && this.#drawing.up());
    surface.addEventListener("pointercancel", (event) => event.isPrimary && this.#drawing.interrupt());
    surface.addEventListener("mousedown", (event) => event.preventDefault()); // the focus is set by #down
    surface.addEventListener("focusin", ({ target }) => cornerOf(target) !== undefined && this.#drawing.use(cornerOf(target)));
    surface.addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("keydown", (event) => this.#keyAnywhere(event));
  }

  #down(event) {
    if (!this.#panel.open || !this.#drawing.size || !event.isPrimary || event.button !== 0) return;
    this.#surface.setPointerCapture(event.pointerId);
    const { width, height } = this.#surface.getBoundingClientRect();
    const distance = ([x1, y1], [x2, y2]) => Math.hypot((x1 - x2) * width, (y1 - y2) * height);
    this.#drawing.down(this.#point(event), distance, REACH[event.pointerType] ?? REACH.mouse);
    const corner = this.#drawing.heldCorner;
    if (corner === undefined) this.#surface.focus({ preventScroll: true });
    else this.#overlay.focus(corner);
  }

  #point(event) {
    const { left, top, width, height } = this.#surface.getBoundingClientRect();
    return [(event.clientX - left) / width, (event.clientY - top) / height];
  }

  #key(event) {
    const handled = this.#drawing.tool ? this.#toolKey(event) : this.#gripKey(event);
    if (handled) event.preventDefault();
  }

  #toolKey({ key }) {
    if (key === "Backspace") this.#drawing.undo();
    else if (key !== "Enter") return false;
    else if (this.#drawing.points.length >= 3) this.#drawing.finish();
    else this.#place();
    return true;
  }

  #place() {
    this.#drawing.place();
    this.#overlay.focus(0);
  }

  #gripKey({ key, target, shiftKey, repeat }) {
    const corner = cornerOf(target);
    if (corner === undefined) return false;
    if (key === "Delete" || key === "Backspace") this.#delete(corner);
    else if (!(key in STEPS)) return false;
    else this.#drawing.nudge(corner, STEPS[key].map((step) => step * (shiftKey ? FAST : 1)), repeat);
    return true;
  }

  /** A corner of a polygon, or the whole shape. */
  #delete(corner) {
    if (corner === null) this.#drawing.remove(this.#drawing.draft.selected);
    else this.#drawing.removeCorner();
    if (document.activeElement === document.body) this.#surface.focus({ preventScroll: true });
  }

  #keyAnywhere(event) {
    const { tool, draft } = this.#drawing;
    if (event.key === "Escape" && (tool || draft.shape)) this.#drawing.cancel();
    else if (isUndo(event) && (tool || draft.canUndo)) this.#drawing.undo();
    else return;
    event.preventDefault();
  }
}

/** The number of the corner whose grip this is; null for the whole shape, undefined for anything else. */
function cornerOf(target) {
  const { corner } = target.dataset;
  if (corner === undefined) return undefined;
  return corner === "whole" ? null : Number(corner);
}

function isUndo({ key, ctrlKey, metaKey, shiftKey, target }) {
  return (ctrlKey || metaKey) && !shiftKey && key.toLowerCase() === "z" && !target.matches("input, textarea");
}
