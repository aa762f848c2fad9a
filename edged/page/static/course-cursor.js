// A place on a drawing, chosen by pointer, finger or arrow keys. For a screen reader it is a slider from answer to answer.
import { el } from "./dom.js";
import { spanAt } from "./course-runs.js";

const KEYS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity };

export class Cursor {
  #line = el("div", { class: "course-cursor", hidden: true });
  #chosen; // called with a span, or null and a moment without answers
  #view = null;
  #moment = null; // that is chosen; null: none
  #span = null; // at that moment

  constructor(label, chosen) {
    this.#chosen = chosen;
    this.element = el("div", {
      class: "course-touch", role: "slider", tabindex: 0, "aria-label": label, "aria-valuemin": 0, hidden: true,
      onpointermove: (event) => this.#point(event),
      onpointerdown: (event) => this.#point(event),
      onpointerleave: (event) => event.pointerType === "mouse" && this.#leave(),
      onkeydown: (event) => this.#press(event),
      onfocus: () => this.#moment === null && this.element.matches(":focus-visible") && this.#step(Infinity),
      onblur: () => this.#choose(null),
    }, this.#line);
  }

  /** The drawing has changed. `view`: spans, x, since, now, frame, describe. */
  follow(view) {
    this.#view = view;
    this.element.hidden = !view.spans.length;
    if (this.#moment !== null && this.#moment < view.since) this.#moment = null;
    this.#choose(this.#moment, view.spans.find(({ run }) => run === this.#span?.run));
  }

  #point(event) {
    const { since, now, frame } = this.#view;
    const place = event.clientX - this.element.getBoundingClientRect().left;
    const share = (place - frame.left) / (frame.right - frame.left);
    this.#choose(since + Math.min(1, Math.max(0, share)) * (now - since));
  }

  #leave() {
    if (document.activeElement !== this.element) this.#choose(null);
  }

  #press(event) {
    if (event.key === "Escape") return this.#choose(null);
    if (!(event.key in KEYS)) return undefined;
    event.preventDefault();
    return this.#step(KEYS[event.key]);
  }

  /** So many answers later, or earlier. */
  #step(steps) {
    const { spans } = this.#view;
    const index = this.#moment === null ? spans.length - 1 : this.#index() + steps;
    const span = spans[Math.min(spans.length - 1, Math.max(0, index))];
    this.#choose((span.from + span.to) / 2, span);
  }

  /** Of the chosen span, or of the last one before the chosen moment. */
  #index() {
    const { spans } = this.#view;
    const index = spans.indexOf(this.#span);
    return index >= 0 ? index : Math.max(0, spans.findLastIndex((span) => span.from <= this.#moment));
  }

  #choose(moment, chosen = null) {
    const span = moment === null ? null : (chosen ?? spanAt(this.#view.spans, moment));
    this.#moment = moment;
    this.#span = span;
    this.#line.hidden = moment === null;
    if (moment !== null) this.#line.style.left = `${this.#view.x(moment)}px`;
    const { spans, describe } = this.#view;
    this.element.setAttribute("aria-valuemax", Math.max(0, spans.length - 1));
    this.element.setAttribute("aria-valuenow", moment === null ? Math.max(0, spans.length - 1) : this.#index());
    this.element.setAttribute("aria-valuetext", spans.length ? describe(moment === null ? spans.at(-1) : span, moment) : "");
    this.#chosen(span, moment);
  }
}
