// The newest analysed frame of a camera, with its age, as a surface to draw on.
import { el } from "./dom.js";

/** `element` is as large as the picture, whatever its scale; `follow(camera)` shows the camera's newest frame. */
export class Surface {
  #image = el("img", { alt: "", draggable: "false" });
  #shown = "";
  #wanted = "";

  constructor() {
    this.element = el("div", { class: "surface", tabindex: "-1", role: "group", hidden: true }, this.#image);
  }

  follow(camera) {
    this.element.hidden = camera.frame === null;
    if (camera.frame && camera.frame.sha256 !== this.#wanted) this.#load(camera);
  }

  /** The frame that is seen is replaced once the new one is there. */
  async #load({ name, title, frame }) {
    this.#wanted = frame.sha256;
    const next = new Image();
    next.src = `/api/frame/${name}.jpg?sha256=${frame.sha256}`;
    try {
      await next.decode();
    } catch {
      if (this.#wanted === frame.sha256) this.#wanted = this.#shown; // the next update tries again
      return;
    }
    if (this.#wanted !== frame.sha256) return; // a newer one is on its way
    this.#shown = frame.sha256;
    this.#image.src = next.src;
    this.#image.alt = title;
    [this.#image.width, this.#image.height] = [frame.width, frame.height];
    this.element.style.aspectRatio = `${frame.width} / ${frame.height}`;
    this.element.style.maxWidth = `calc(85vh * ${frame.width / frame.height})`; // never higher than the window
  }
}
