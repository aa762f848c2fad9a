// The newest analysed frame of a camera, as a surface to draw on, and below it its age and why it may not be current.
import { announce, el, setText } from "./dom.js";
import { ageOf, isFuture } from "./live.js";
import { whyNotCurrent } from "./picture.js";
import { duration, words } from "./words.js";

/** `element` is as large as the picture, whatever its scale; `follow(camera)` shows the camera's newest frame. */
export class Surface {
  #image = el("img", { alt: "" });
  #age = el("span", { class: "numbers muted", "aria-hidden": "true" });
  #why = el("strong");
  #reason = el("span");
  #shown = null; // the frame that is seen
  #wanted = ""; // the digest of the newest one

  constructor() {
    this.element = el("div", { class: "surface", tabindex: "-1", role: "group", "aria-label": words.drawing.title, hidden: true }, this.#image);
    this.caption = el("p", { class: "caption" }, this.#age, " ", this.#why, " ", this.#reason);
  }

  follow(camera) {
    this.#take(camera);
    const why = whyNotCurrent(camera, this.#shown);
    this.element.classList.toggle("not-current", why !== null);
    if (why && this.#why.textContent !== why.text) announce(why.text);
    setText(this.#why, why?.text ?? "");
    setText(this.#reason, why?.reason ?? "");
    this.#why.className = why?.level ?? "";
    setText(this.#age, this.#shown && !isFuture(this.#shown.ts) ? words.pictureAge(duration(ageOf(this.#shown.ts))) : "");
  }

  #take(camera) {
    const { frame } = camera;
    if (frame?.sha256 === this.#shown?.sha256) this.#shown = frame; // the same picture, seen again
    else if (!frame) this.#forget();
    else if (frame.sha256 !== this.#wanted) this.#load(camera);
  }

  /** The pictures of the camera have changed, for example its masks: none is shown until the next look. */
  #forget() {
    this.element.hidden = true;
    [this.#shown, this.#wanted] = [null, ""];
  }

  /** The frame that is seen is replaced once the new one is there. */
  async #load({ name, title, frame }) {
    this.#wanted = frame.sha256;
    const { width, height } = frame;
    const next = el("img", { width, height, alt: words.pictureOf(title), draggable: "false" });
    next.src = `/api/frame/${name}.jpg?sha256=${frame.sha256}`;
    try {
      await next.decode();
    } catch {
      if (this.#wanted === frame.sha256) this.#wanted = ""; // the next update tries again
      return;
    }
    if (this.#wanted === frame.sha256) this.#show(next, frame); // else a newer one is on its way
  }

  #show(image, frame) {
    this.#image.replaceWith(image);
    [this.#image, this.#shown] = [image, frame];
    const ratio = frame.width / frame.height;
    this.element.style.aspectRatio = String(ratio);
    this.element.style.maxWidth = `calc(85vh * ${ratio})`; // never higher than the window
    this.element.hidden = false;
  }
}
