// What pointer and keyboard do to the drawing. Points are fractions of the picture's width and height.
import { Draft } from "./draft.js";
import * as shapes from "./shapes.js";

const SAME_CLICK = 6; // pixels of the screen
const MIDDLE = [[0.3, 0.3], [0.7, 0.7]];

export class Drawing {
  #changed;
  #drag = null; // what the pointer moves: {from, shape, corner}; corner null: the whole shape
  #drags = 0;
  #corner = null;
  #selectedBefore = null;

  /** `changed()` is called after each change. */
  constructor(changed) {
    this.#changed = changed;
    this.draft = new Draft([]);
    this.size = null; // of the picture; nothing can be drawn before there is one
    this.tool = null; // the kind of shape that is drawn now: {kind, form}, form "box" or "polygon"
    this.points = []; // of the shape that is drawn now; the last one follows the pointer
    this.resized = null; // {from, to}: the picture has another size since the drawing was begun
  }

  /** The corner that the pointer holds; undefined if it holds none, null if it holds the whole shape. */
  get heldCorner() {
    return this.#drag?.corner;
  }

  follow(camera) {
    this.draft.follow(shapes.shapesOf(camera));
    if (camera.frame) this.#resize({ width: camera.frame.width, height: camera.frame.height });
    this.#changed();
  }

  begin(kind, form) {
    this.draft.select(null);
    [this.tool, this.points] = [{ kind, form }, []];
    this.#changed();
  }

  select(index) {
    this.#leaveTool();
    this.draft.select(index);
    this.#changed();
  }

  /** `distance(a, b)` is in pixels of the screen, and so is `reach`, by which a finger or a mouse may miss a corner. */
  down(point, distance, reach) {
    if (this.tool?.form === "box") this.points = [this.#at(point), this.#at(point)];
    else if (this.tool) this.#addCorner(point, distance, reach);
    else this.#grip(point, distance, reach);
    this.#changed();
  }

  move(point) {
    if (this.tool) this.points = [...this.points.slice(0, -1), this.#at(point)];
    else if (this.#drag) this.#pull(point);
    else return;
    this.#changed();
  }

  up() {
    if (this.tool?.form === "box") this.#finishBox();
    this.#drag = null;
    this.#changed();
  }

  /** The gesture has become another one, such as scrolling: take it back. */
  interrupt() {
    if (this.tool) this.points = this.tool.form === "box" ? [] : this.points.slice(0, -1);
    else if (this.#drag) this.draft.undoStep(this.#dragStep);
    else this.draft.select(this.#selectedBefore);
    this.#drag = null;
    this.#changed();
  }

  /** Escape: take back what is not finished, else let go of the selected shape. */
  cancel() {
    if (this.#drag) this.draft.undoStep(this.#dragStep);
    else if (this.tool) this.#leaveTool();
    else this.draft.select(null);
    this.#drag = null;
    this.#changed();
  }

  /** Close the polygon. */
  finish() {
    const corners = this.points.filter((point, index) => index === 0 || String(point) !== String(this.points[index - 1]));
    if (this.tool?.form === "polygon" && corners.length >= 3) this.#add({ polygon: corners });
    this.#changed();
  }

  /** A shape in the middle of the picture, for those who move its corners with the keyboard. */
  place() {
    const [a, b] = MIDDLE.map((point) => this.#at(point));
    const box = shapes.boxBetween(a, b);
    this.#add(this.tool.form === "box" ? { box } : { polygon: shapes.cornersOf({ box }) });
    this.#changed();
  }

  /** Move a corner of the selected shape, or the whole one, by so many pixels. `repeated`: the key is held. */
  nudge(corner, [columns, rows], repeated) {
    const { shape } = this.draft;
    if (!repeated) this.draft.endStep();
    const by = [columns / this.size.width, rows / this.size.height];
    this.draft.replace(corner === null ? this.#movedBy(shape, by) : this.#cornerBy(shape, corner, by), "key");
    this.#changed();
  }

  rename(name) {
    this.draft.replace({ ...this.draft.shape, name }, "name");
    this.#changed();
  }

  /** In the side after the corner that was used last. */
  addCorner() {
    const { shape } = this.draft;
    this.draft.replace(shapes.withCornerAfter(shape, this.usedCorner ?? shape.polygon.length - 1, this.size));
    this.#changed();
  }

  get canRemoveCorner() {
    return this.usedCorner !== null && this.draft.shape.polygon?.length > 3;
  }

  /** The corner that was used last; a triangle keeps its own. */
  removeCorner() {
    if (!this.canRemoveCorner) return;
    this.draft.replace(shapes.withoutCorner(this.draft.shape, this.usedCorner));
    this.#changed();
  }

  /** A grip has the focus: that of a corner, or null for the whole shape. */
  use(corner) {
    this.#corner = corner;
    this.#changed();
  }

  /** The corner of the selected shape that was used last; null if there is none. */
  get usedCorner() {
    const { shape } = this.draft;
    return shape && this.#corner < shapes.cornersOf(shape).length ? this.#corner : null;
  }

  remove(index) {
    this.draft.remove(index);
    this.#changed();
  }

  undo() {
    if (this.tool && this.points.length) this.points = this.points.slice(0, -1);
    else if (this.tool) this.#leaveTool();
    else this.draft.undo();
    this.#changed();
  }

  discard() {
    this.#leaveTool();
    this.draft.discard();
    this.resized = null;
    this.#changed();
  }

  #resize(size) {
    const isOther = this.size && (size.width !== this.size.width || size.height !== this.size.height);
    if (isOther) this.resized = { from: this.resized?.from ?? this.size, to: size };
    if (!this.draft.changed) this.resized = null;
    this.size = size;
  }

  #at(point) {
    return shapes.snapped(point, this.size);
  }

  get #dragStep() {
    return `drag ${this.#drags}`;
  }

  #leaveTool() {
    [this.tool, this.points] = [null, []];
  }

  /** A click on the first corner, or a double click, closes the polygon. */
  #addCorner(point, distance, reach) {
    const [first, last] = [this.points[0], this.points.at(-1)];
    const closes = this.points.length >= 3 && (distance(first, point) <= reach || distance(last, point) <= SAME_CLICK);
    if (closes) this.finish();
    else this.points = [...this.points, this.#at(point)];
  }

  #finishBox() {
    const [a, b] = this.points;
    if (!a) return;
    const box = shapes.boxBetween(a, b);
    if (box[0] < box[2] && box[1] < box[3]) this.#add({ box });
    else this.points = []; // a click; the next one may be a drag
  }

  #add(form) {
    const { kind } = this.tool;
    this.#leaveTool();
    this.draft.add(kind === "mask" ? { kind, ...form } : { kind, name: this.#freeName(), ...form });
  }

  #freeName() {
    const names = this.draft.shapes.map((shape) => shape.name);
    for (let number = 1; ; number += 1) if (!names.includes(`region-${number}`)) return `region-${number}`;
  }

  /** Take hold of the corner that is nearest, else of the selected shape; else select another. */
  #grip(point, distance, reach) {
    const { shape, selected } = this.draft;
    this.#selectedBefore = selected;
    const corner = shape ? nearest(shapes.cornersOf(shape).map((each) => distance(each, point)), reach) : null;
    if (corner !== null || (shape && shapes.contains(shape, point))) {
      this.#drags += 1;
      this.#drag = { from: point, shape, corner };
    } else {
      this.draft.select(topmost(this.draft.shapes, point));
    }
  }

  /** The corner moves as far as the pointer has: it does not jump to where it was taken. */
  #pull(point) {
    const { from, shape, corner } = this.#drag;
    const by = [point[0] - from[0], point[1] - from[1]];
    this.draft.replace(corner === null ? this.#movedBy(shape, by) : this.#cornerBy(shape, corner, by), this.#dragStep);
  }

  #movedBy(shape, [x, y]) {
    return shapes.moved(shape, [Math.round(x * this.size.width), Math.round(y * this.size.height)], this.size);
  }

  #cornerBy(shape, corner, [x, y]) {
    const [left, top] = shapes.cornersOf(shape)[corner];
    return shapes.withCorner(shape, corner, [left + x, top + y], this.size);
  }
}

/** The index of the least distance; null if all are longer than `reach`. */
function nearest(distances, reach) {
  const least = Math.min(...distances);
  return least <= reach ? distances.indexOf(least) : null;
}

/** The shape that was drawn last of those around the point: its index, or null. */
function topmost(all, point) {
  const index = all.findLastIndex((shape) => shapes.contains(shape, point));
  return index < 0 ? null : index;
}
