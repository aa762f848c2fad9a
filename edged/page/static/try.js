// Trying a prompt on the page of a camera: asks edged, and shows its answer. Nothing is published or kept.
import { announce, el, setText } from "./dom.js";
import { follow, state } from "./live.js";
import { tryForm } from "./try-form.js";
import { answerText, resultView } from "./try-result.js";
import { words } from "./words.js";

const TICK_MS = 1_000;

/** Fill `place` for the camera of this name. */
export function mount(place, cameraName) {
  const asking = new Asking(cameraName);
  place.append(asking.element);
  follow(() => asking.follow());
  asking.follow();
}

class Asking {
  #name;
  #form = tryForm(() => this.#ask());
  #off = el("p", { class: "notice", hidden: true });
  #askButton = el("button", { type: "submit", form: this.#form.element.id, class: "primary" }, words.trying.ask);
  #cancel = el("button", { type: "button", hidden: true, onclick: () => this.#leave?.abort() }, words.trying.cancel);
  #progress = el("span", { class: "muted numbers", "aria-hidden": "true" });
  #problem = el("p", { class: "notice bad", role: "alert", hidden: true });
  #result = el("div", { class: "try-result" });
  #leave = null; // ends the request that is under way
  #ticking = 0;

  constructor(name) {
    this.#name = name;
    this.element = el("div", { class: "card try" },
      el("h2", {}, words.trying.title),
      el("p", { class: "muted small" }, words.trying.introduction),
      this.#off, this.#form.element,
      el("div", { class: "row" }, this.#askButton, this.#cancel, this.#progress),
      this.#problem, this.#result);
  }

  follow() {
    const camera = state.cameras.get(this.#name);
    if (!state.box || !camera) return;
    const allowed = state.box.allow_prompts;
    setText(this.#off, words.trying.off(state.box.config.file));
    this.#off.hidden = allowed;
    this.#form.follow(camera, allowed);
    this.#askButton.disabled = !allowed || this.#leave !== null;
  }

  async #ask() {
    if (this.#leave || this.#askButton.disabled) return;
    const { request, problem } = this.#form.request();
    this.#show(problem);
    if (problem) return;
    this.#begin();
    try {
      this.#take(await send({ camera: this.#name, ...request }, this.#leave.signal));
    } catch (error) {
      this.#show(error.name === "AbortError" ? words.trying.cancelled : words.trying.offline);
    } finally {
      this.#end();
    }
  }

  #take({ answer, problem }) {
    this.#show(problem);
    if (problem) return;
    const camera = state.cameras.get(this.#name);
    this.#result.replaceChildren(resultView(answer, this.#name, camera?.frame, state.box.config.file));
    announce(words.trying.answered(answerText(answer)));
  }

  #begin() {
    this.#leave = new AbortController();
    this.#result.classList.add("old");
    this.#askButton.disabled = true;
    this.#cancel.hidden = false;
    announce(words.trying.asking);
    const begun = Date.now();
    const tick = () => setText(this.#progress, `${words.trying.asking} ${words.seconds(Math.floor((Date.now() - begun) / TICK_MS))}`);
    tick();
    this.#ticking = setInterval(tick, TICK_MS);
  }

  #end() {
    clearInterval(this.#ticking);
    this.#leave = null;
    this.#result.classList.remove("old");
    this.#cancel.hidden = true;
    setText(this.#progress, "");
    this.follow();
  }

  #show(problem) {
    this.#problem.hidden = !problem;
    setText(this.#problem, problem ?? "");
    if (problem) this.#result.replaceChildren(); // nobody takes the answer before for that to this prompt
  }
}

/** {answer}, or {problem}, a sentence of edged. */
async function send(request, signal) {
  const response = await fetch("/api/try", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(request), signal,
  });
  if (!response.ok) return { problem: (await response.text()).trim() };
  return { answer: await response.json() };
}
