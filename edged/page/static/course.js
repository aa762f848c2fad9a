// The course of a camera's answers over an hour, a day or a week. New answers join it as they come.
import { CourseCard } from "./course-card.js";
import { el, setText } from "./dom.js";
import { follow, state } from "./live.js";
import { words } from "./words.js";

const text = words.course;
const PERIODS = { hour: 3_600, day: 86_400, week: 604_800 };
const REDRAW_MS = 10_000;

/** Show the answers of this camera in `place`. */
export function mount(place, cameraName) {
  new CourseSection(place, cameraName).start();
}

class CourseSection {
  #camera;
  #place;
  #period = periodInAddress();
  #cards = [];
  #shape = ""; // of the questions that have cards
  #request = null; // what is loaded now
  #zone = el("p", { class: "muted small" });
  #off = el("p", { class: "notice", hidden: true }, text.off);
  #list = el("div", { class: "course-list" });

  constructor(place, cameraName) {
    this.#place = place;
    this.#camera = cameraName;
    place.classList.add("course");
    place.append(el("h2", {}, text.title), this.#choice(), this.#legend(), this.#off, this.#list);
  }

  start() {
    follow((kind, name) => this.#changed(kind, name));
    window.addEventListener("hashchange", () => this.#choose(periodInAddress()));
    new ResizeObserver(() => this.#redraw()).observe(this.#list);
    setInterval(() => document.hidden || (this.#redraw(), this.#load()), REDRAW_MS);
    this.#changed("box");
  }

  #changed(kind, name) {
    const camera = state.cameras.get(this.#camera);
    if (!camera || !state.box) return;
    this.#off.hidden = state.box.keeps_history;
    this.#list.hidden = !state.box.keeps_history;
    if (kind === "connection" && state.connected) this.#reconnected();
    else if (kind === "camera" && name === this.#camera) this.#append(camera);
    this.#follow(camera);
  }

  /** A card for each question. Questions may come, go and change with the config. */
  #follow(camera) {
    const shape = JSON.stringify([state.box.keeps_history, camera.questions.map(({ name, title, type, choices, words: ofType }) => [name, title, type, choices, ofType])]);
    if (shape === this.#shape) return;
    this.#shape = shape;
    this.#request?.abort();
    this.#cards = state.box.keeps_history ? camera.questions.map((question) => new CourseCard(question, () => this.#load())) : [];
    this.#list.replaceChildren(...this.#cards.map((card) => card.element));
    this.#load();
  }

  #append(camera) {
    for (const card of this.#cards) {
      const answer = newest(camera, card.name);
      if (answer) card.append(answer);
    }
  }

  /** Answers may have been missed. A request of the lost connection may hang. */
  #reconnected() {
    this.#request?.abort();
    for (const card of this.#cards) card.forgive();
    this.#load(true);
  }

  #choose(period) {
    if (period === this.#period) return;
    this.#period = period;
    for (const radio of this.#place.querySelectorAll("input[name=period]")) radio.checked = radio.value === period;
    this.#request?.abort();
    for (const card of this.#cards) card.forgive();
    this.#load();
  }

  /** Load what is due, or all, card after card: the box reads one at a time anyway. */
  async #load(all = false) {
    if (this.#request && !this.#request.signal.aborted) return;
    const request = new AbortController();
    this.#request = request;
    const period = PERIODS[this.#period];
    for (const card of this.#cards.filter((each) => all || each.isDue(period))) {
      if (!request.signal.aborted) await this.#loadCard(card, period, request.signal);
    }
    if (this.#request === request) this.#request = null;
  }

  async #loadCard(card, period, signal) {
    card.load(period);
    try {
      const query = new URLSearchParams({ camera: this.#camera, question: card.name, since: period });
      const response = await fetch(`/api/history?${query}`, { signal });
      if (!response.ok) return card.fail((await response.text()).trim());
      card.take(await response.json(), period, newest(state.cameras.get(this.#camera), card.name));
      setText(this.#zone, text.zone(card.zone.name));
    } catch (error) {
      if (signal.aborted) card.abandon();
      else card.fail(error.name === "TypeError" ? words.disconnected : String(error));
    }
    return undefined;
  }

  #redraw() {
    for (const card of this.#cards) card.redraw();
  }

  #choice() {
    const radios = Object.keys(PERIODS).map((period) => el("label", { class: "course-period" },
      el("input", { type: "radio", name: "period", value: period, checked: period === this.#period, onchange: () => putInAddress(period) }),
      text.periods[period]));
    return el("fieldset", { class: "course-periods" }, el("legend", { class: "visually-hidden" }, text.period), ...radios);
  }

  #legend() {
    const sign = (name, meaning) => el("span", { class: "course-sign" }, el("span", { class: name, "aria-hidden": "true" }), meaning);
    return el("div", { class: "course-legend muted small" }, this.#zone, sign("course-sign-refused", text.refused), sign("course-sign-nothing", text.blank));
  }
}

function newest(camera, question) {
  return camera?.questions.find((each) => each.name === question)?.answer;
}

function periodInAddress() {
  const named = new URLSearchParams(location.hash.slice(1)).get("period");
  return named in PERIODS ? named : "day";
}

/** Keeps what else is in the hash. Going back in the browser leaves the page, not the period. */
function putInAddress(period) {
  const parts = new URLSearchParams(location.hash.slice(1));
  parts.set("period", period);
  history.replaceState(null, "", `#${parts}`);
  window.dispatchEvent(new HashChangeEvent("hashchange"));
}
