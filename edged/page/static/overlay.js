// Masks and regions over a picture: outlines, names, and the corners of the selected shape.
import { el, setText } from "./dom.js";
import { boundsOf, cornersOf, inPixels } from "./shapes.js";
import { words as all } from "./words.js";

const words = all.drawing;

const SVG = "http://www.w3.org/2000/svg";

export class Overlay {
  #svg = svg("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true", class: "outlines" });
  #names = el("div", { class: "shape-names", "aria-hidden": "true" });
  #grips = el("div", { class: "grips" });
  #whole = el("button", { type: "button", class: "grip whole" });

  constructor(surface) {
    surface.append(this.#svg, this.#names, this.#grips);
  }

  /** The grips are buttons with `data-corner`, the number of a corner, or "whole". */
  show({ draft, tool, points, size }) {
    const outlines = draft.shapes.map((shape, index) => outline(shape, index === draft.selected));
    this.#svg.replaceChildren(...outlines.flat(), ...(tool ? unfinished(tool, points) : []));
    this.#names.replaceChildren(...draft.shapes.map((shape, index) => nameOf(shape, draft.shapes, index)));
    this.#showGrips(draft, size);
  }

  focus(corner) {
    const grip = corner === null ? this.#whole : this.#grips.querySelector(`[data-corner="${corner}"]`);
    grip?.focus({ preventScroll: true });
  }

  /** Kept from one call to the next, so that the focus stays. */
  #showGrips({ shape, shapes, selected }, size) {
    if (!shape || !size) return this.#grips.replaceChildren();
    const corners = cornersOf(shape);
    const name = titleOf(shape, shapes, selected);
    if (!this.#whole.isConnected) this.#grips.append(this.#whole);
    while (this.#grips.children.length <= corners.length) this.#grips.insertBefore(el("button", { type: "button", class: "grip" }), this.#whole);
    while (this.#grips.children.length > corners.length + 1) this.#grips.children[corners.length].remove();
    corners.forEach((corner, index) => placeGrip(this.#grips.children[index], corner, index, words.corner(index + 1, name, ...inPixels(corner, size))));
    const [left, top, right, bottom] = boundsOf(shape);
    placeGrip(this.#whole, [(left + right) / 2, (top + bottom) / 2], "whole", words.wholeShape(name));
  }
}

/** The name of a region, or the number of a mask. */
export function titleOf(shape, all, index) {
  return shape.kind === "mask" ? words.maskNumber(all.slice(0, index + 1).filter((each) => each.kind === "mask").length) : shape.name;
}

/** A dark line under a bright one is seen on any picture. */
function outline(shape, selected) {
  const points = cornersOf(shape).map((corner) => corner.join()).join(" ");
  const classes = `${shape.kind}${selected ? " selected" : ""}`;
  return [svg("polygon", { points, class: `under ${classes}` }), svg("polygon", { points, class: `over ${classes}` })];
}

function unfinished({ kind, form }, points) {
  if (form === "box" && points.length) {
    const [[x1, y1], [x2, y2]] = points;
    return outline({ kind, polygon: [[x1, y1], [x2, y1], [x2, y2], [x1, y2]] }, true);
  }
  const line = points.map((point) => point.join()).join(" ");
  const dots = points.map(([x, y]) => svg("line", { x1: x, y1: y, x2: x, y2: y, class: `dot ${kind}` }));
  return [svg("polyline", { points: line, class: `under ${kind}` }), svg("polyline", { points: line, class: `over ${kind}` }), ...dots];
}

/** In the shape's corner that is nearest to that of the picture, so that it is never cut off. */
function nameOf(shape, all, index) {
  const [left, top, right, bottom] = boundsOf(shape);
  const label = el("span", { class: `shape-name ${shape.kind}` }, titleOf(shape, all, index));
  if (left + right > 1) label.style.right = percent(1 - right);
  else label.style.left = percent(left);
  if (top > 0.8) label.style.bottom = percent(1 - bottom);
  else label.style.top = percent(top);
  return label;
}

function placeGrip(button, [x, y], corner, label) {
  button.dataset.corner = corner;
  button.style.left = percent(x);
  button.style.top = percent(y);
  if (button.getAttribute("aria-label") !== label) button.setAttribute("aria-label", label);
}

function percent(share) {
  return `${100 * share}%`;
}

function svg(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
