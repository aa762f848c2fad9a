// The course of the answers to one question: summary, drawing, what is under the pointer, and the same as a table.
import { add, spans } from "./course-runs.js";
import { Cursor } from "./course-cursor.js";
import { draw, heightOf } from "./course-draw.js";
import { sentenceOf, summaryOf, timesOf, valueOf } from "./course-words.js";
import { Zone } from "./course-time.js";
import { el, setText } from "./dom.js";
import { ageOf } from "./live.js";
import { duration, words } from "./words.js";

const text = words.course;
const MOST_ROWS = 200;
const OVERDUE = 1 / 12; // of the period: counts are for the period as it was when the answers were loaded

export class CourseCard {
  #question;
  #history = null;
  #period = 0; // seconds that were asked for
  #zone = null;
  #failed = false;
  #loading = false;
  #summary = el("p", { class: "course-summary muted small" });
  #plot = el("div", { class: "course-plot" });
  #message = el("div", { class: "course-message", hidden: true });
  #readout = el("p", { class: "course-readout small numbers" });
  #rows = el("tbody");
  #table;
  #cursor;
  #reload;

  /** `reload` is called when the user wants another try. */
  constructor(question, reload) {
    this.#question = question;
    this.#cursor = new Cursor(text.courseOf(question.title), (span, moment) => this.#show(span, moment));
    this.#table = this.#makeTable();
    this.#reload = reload;
    this.#plot.style.height = `${heightOf(question)}px`;
    this.#plot.append(this.#cursor.element, this.#message);
    this.element = el("article", { class: "card course-card", "data-question": question.name },
      el("h3", {}, question.title), this.#summary, this.#plot, this.#readout, this.#table);
  }

  get name() {
    return this.#question.name;
  }

  /** That of the times; null before anything was loaded. */
  get zone() {
    return this.#zone;
  }

  /** True if the answers of this period have to be loaded. */
  isDue(period) {
    if (this.#loading || this.#failed) return false;
    return !this.#history || this.#period !== period || ageOf(this.#history.now_ts) > period * OVERDUE;
  }

  /** The answers are asked for. */
  load(period) {
    this.#loading = true;
    if (this.#period === period && this.#history) return; // a refresh, of which nothing is seen
    this.#failed = false;
    this.element.setAttribute("aria-busy", "true");
    if (!this.#history) this.#say(text.loading);
  }

  /** They have come. `answer` is the newest one, which may have been given since. */
  take(history, period, answer) {
    this.#history = history;
    this.#period = period;
    this.#zone = new Zone(history.timezone);
    this.#end(false);
    if (answer) add(history, answer);
    this.#message.hidden = true;
    this.redraw();
  }

  fail(sentence) {
    this.#end(true);
    this.#say(text.failed, el("span", { class: "small" }, sentence), el("button", { type: "button", onclick: () => this.#retry() }, text.tryAgain));
  }

  /** The request was given up for another one. */
  abandon() {
    this.#end(this.#failed);
  }

  /** Take a failure for over, because there is a connection again. */
  forgive() {
    this.#failed = false;
  }

  append(answer) {
    if (this.#history && add(this.#history, answer)) this.redraw();
  }

  /** For the time that it is now, and the width that there is. */
  redraw() {
    const width = this.#plot.clientWidth;
    if (!this.#history || this.#failed || !width) return;
    const view = this.#view(width);
    const drawing = draw(view);
    this.#plot.querySelector("svg")?.remove();
    this.#plot.prepend(drawing.svg);
    this.#cursor.follow({ ...view, ...drawing, describe: (span, moment) => this.#describe(span, moment) });
    setText(this.#summary, this.#summarized(view));
    if (this.#table.open) this.#fillTable(view);
  }

  #view(width) {
    const { now_ts: then, since_ts: begin } = this.#history;
    const now = then + ageOf(then);
    const since = now - (then - begin);
    return { question: this.#question, spans: spans(this.#history, since, now), since, now, width, zone: this.#zone };
  }

  #summarized({ spans: all, since, now }) {
    const { begun_ts: begun, kept_s: kept, expires_s: expires } = this.#history;
    const notes = [summaryOf(this.#history, all, this.#question)];
    if (kept < this.#period) notes.push(text.kept(duration(kept)));
    else if (begun !== null && begun - since > expires) notes.push(text.begun(now - begun < 86_400 ? this.#zone.moment(begun, 86_400) : this.#zone.date(begun)));
    return notes.join(" · ");
  }

  #describe(span, moment) {
    const period = this.#history.now_ts - this.#history.since_ts;
    return span ? sentenceOf(span, this.#question, this.#zone, period) : `${this.#zone.moment(moment, period)} · ${text.nothing}`;
  }

  #show(span, moment) {
    const hint = this.#cursor.element.hidden ? "" : text.hint;
    setText(this.#readout, moment === null ? hint : this.#describe(span, moment));
    this.#readout.classList.toggle("muted", moment === null);
  }

  #makeTable() {
    const head = [text.time, text.answer, text.count].map((name) => el("th", { scope: "col" }, name));
    const scroller = el("div", { class: "course-rows", role: "region", tabindex: 0, "aria-label": text.courseOf(this.#question.title) },
      el("table", { class: "numbers small" }, el("thead", {}, el("tr", {}, head)), this.#rows));
    const opened = () => this.#history && this.#fillTable(this.#view(this.#plot.clientWidth));
    return el("details", { ontoggle: opened }, el("summary", {}, text.table), scroller);
  }

  #fillTable({ spans: all, since, now }) {
    const rows = all.slice(-MOST_ROWS).reverse().map((span) =>
      el("tr", {}, el("td", {}, timesOf(span, this.#zone, now - since)), el("td", {}, valueOf(span.run, this.#question)), el("td", {}, String(span.run.n))));
    this.#rows.replaceChildren(...rows);
  }

  #retry() {
    this.#failed = false;
    this.#reload();
  }

  #end(failed) {
    this.#loading = false;
    this.#failed = failed;
    this.element.removeAttribute("aria-busy");
  }

  #say(...content) {
    this.#message.replaceChildren(...content);
    this.#message.hidden = false;
  }
}
