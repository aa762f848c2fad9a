// Draws the course of a question's answers: a stepped line for numbers, a lane for each choice, marks for changed texts.
import { valueText } from "./answer.js";
import { axis } from "./course-scale.js";
import { words } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const NUMBERS_PX = 120;
const LANE_PX = 24;
const AXIS_PX = 22;
const TOP_PX = 8;
const RIGHT_PX = 10;
const CHARACTER_PX = 7;
const LEAST_PX = 1.5; // of anything, so that a single answer of a week is seen
const MOST_LANES = 8;
const OTHER = Symbol("other values");
const MARK_PX = 64; // of a mark of the time axis
let patterns = 0;

/** How high the drawing of this question is, so that there is room for it before it can be drawn. */
export function heightOf(question) {
  return TOP_PX + plotHeight(question) + AXIS_PX;
}

function plotHeight(question) {
  return isNumber(question) ? NUMBERS_PX : lanesOf(question).length * LANE_PX;
}

/** `{svg, x}`: the drawing, and the function that has the place of a moment in it. `view`: question, spans, since, now, width, zone. */
export function draw(view) {
  const { question, width } = view;
  const frame = { top: TOP_PX, bottom: TOP_PX + plotHeight(question), right: width - RIGHT_PX, left: 0 };
  const scale = isNumber(question) ? axis(numbersOf(view.spans), question.type === "integer") : null;
  const lanes = isNumber(question) ? [] : lanesOf(question);
  frame.left = gutter(scale, lanes, question, width);
  const x = (stamp) => frame.left + ((stamp - view.since) / (view.now - view.since)) * (frame.right - frame.left);
  const pattern = `course-hatch-${(patterns += 1)}`;
  const svg = node("svg", { width, height: heightOf(question), viewBox: `0 0 ${width} ${heightOf(question)}`, "aria-hidden": "true", class: "course-svg" },
    hatch(pattern),
    timeAxis(view, frame, x),
    refusals(view.spans, frame, x, pattern),
    scale ? numberAxis(scale, frame) : [],
    scale ? numbers(view.spans, scale, frame, x) : [],
    lanes.map((lane, index) => laneOf(lane, index, view, lanes, frame, x)),
    node("rect", { class: "course-frame", x: frame.left, y: frame.top, width: Math.max(0, frame.right - frame.left), height: frame.bottom - frame.top }));
  return { svg, x, frame };
}

// numbers

function isNumber(question) {
  return question.type === "integer" || question.type === "number";
}

function numbersOf(spans) {
  return spans.filter(isValue).flatMap(({ run }) => [run.value, run.low ?? run.value, run.high ?? run.value]);
}

function numbers(spans, scale, frame, x) {
  const y = (number) => round(frame.bottom - ((number - scale.low) / (scale.high - scale.low)) * (frame.bottom - frame.top));
  const values = spans.filter(isValue);
  const ranges = values.filter(({ run }) => run.low !== undefined);
  const area = ranges.map((span) => box(x(span.from), x(span.to), y(span.run.high), y(span.run.low)));
  return [node("path", { class: "course-range", d: area.join("") }), node("path", { class: "course-line", d: steps(values, x, y) })];
}

/** A line that steps where the value changes, and is interrupted where there was none. */
function steps(values, x, y) {
  let end = null;
  return values.map(({ run, from, to }) => {
    const begin = end !== null && Math.abs(end - from) < 0.05 ? `V${y(run.value)}` : `M${round(x(from))} ${y(run.value)}`;
    end = to;
    return `${begin}H${round(Math.max(x(to), x(from) + LEAST_PX))}`;
  }).join("");
}

function numberAxis(scale, frame) {
  const y = (number) => frame.bottom - ((number - scale.low) / (scale.high - scale.low)) * (frame.bottom - frame.top);
  return scale.marks.map((number) => [
    node("line", { class: "course-grid", x1: frame.left, x2: frame.right, y1: y(number), y2: y(number) }),
    text(String(number), { class: "course-label", x: frame.left - 6, y: y(number) + 4, "text-anchor": "end" }),
  ]);
}

// lanes

/** What has a lane of its own: the choices of the config, in their order; one lane for texts. */
function lanesOf(question) {
  if (question.type === "yes_no") return [true, false];
  if (question.type !== "choices") return [OTHER];
  const values = question.choices.map(({ value }) => keyOf(value));
  return values.length <= MOST_LANES ? values : [...values.slice(0, MOST_LANES - 1), OTHER];
}

/** As /api/history has the value of a choice. */
function keyOf(value) {
  return typeof value === "string" || typeof value === "boolean" ? value : JSON.stringify(value);
}

/** The words of a lane. */
function laneName(lane, question) {
  if (lane === OTHER) return question.type === "choices" ? words.course.others : "";
  return choiceText(lane, question);
}

/** A value as /api/history has it, in the words of the config. */
export function choiceText(value, question) {
  const choice = question.choices?.find((each) => keyOf(each.value) === value);
  return valueText(question, choice ? choice.value : value);
}

function laneOf(lane, index, { question, spans }, lanes, frame, x) {
  const top = frame.top + index * LANE_PX;
  const within = spans.filter((span) => isValue(span) && occurs(lane, lanes, span.run));
  const isText = question.type === "text" || question.type === "json";
  const bars = within.map((span) => box(x(span.from), x(span.to), top + (isText ? 11 : 4), top + LANE_PX - (isText ? 11 : 4)));
  const marks = isText ? within.map((span) => box(x(span.from), x(span.from) + LEAST_PX, top + 4, top + LANE_PX - 4)) : [];
  return [
    index ? node("line", { class: "course-grid", x1: frame.left, x2: frame.right, y1: top, y2: top }) : null,
    label(laneName(lane, question), frame.left, top + LANE_PX / 2 + 4),
    node("path", { class: "course-bar", "data-lane": String(lane === OTHER ? "" : lane), d: bars.join("") }),
    isText ? node("path", { class: "course-mark", d: marks.join("") }) : null,
  ];
}

function occurs(lane, lanes, run) {
  const values = run.values ? run.values.map(([value]) => value) : [run.value];
  return values.some((value) => value === lane || (lane === OTHER && !lanes.includes(value)));
}

function label(name, left, y) {
  const most = Math.floor((left - 10) / CHARACTER_PX);
  return text(cut(name, most), { class: "course-label", x: left - 6, y, "text-anchor": "end" });
}

/** The text, at most so many columns wide; Korean and other wide characters take two. */
function cut(name, most) {
  let columns = 0;
  for (const [index, character] of [...name].entries()) {
    columns += character.codePointAt(0) > 0x1100 ? 2 : 1;
    if (columns > most) return `${[...name].slice(0, Math.max(1, index - 1)).join("")}…`;
  }
  return name;
}

// both

function isValue({ run }) {
  return run.status === "ok";
}

/** Where the model was asked, or should have been, and there is no value. */
function refusals(spans, frame, x, pattern) {
  const of = (asked) => spans.filter(({ run }) => run.status !== "ok" && (run.status !== "not_asked") === asked)
    .map((span) => box(x(span.from), x(span.to), frame.top, frame.bottom)).join("");
  return [
    node("path", { class: "course-unasked", d: of(false) }),
    node("path", { class: "course-refused", fill: `url(#${pattern})`, d: of(true) }),
  ];
}

function hatch(id) {
  return node("defs", {}, node("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    node("rect", { class: "course-hatch-ground", width: 6, height: 6 }), node("rect", { class: "course-hatch-line", width: 2, height: 6 })));
}

function timeAxis({ since, now, zone, width }, frame, x) {
  return zone.marks(since, now, Math.max(2, Math.floor((frame.right - frame.left) / MARK_PX))).map(({ stamp, label: name }) => [
    node("line", { class: "course-grid", x1: x(stamp), x2: x(stamp), y1: frame.top, y2: frame.bottom + 4 }),
    text(name, { class: "course-label", x: Math.min(x(stamp), width - MARK_PX / 3), y: frame.bottom + 17, "text-anchor": "middle" }),
  ]);
}

function gutter(scale, lanes, question, width) {
  const names = scale ? scale.marks.map(String) : lanes.map((lane) => laneName(lane, question));
  const columns = Math.max(2, ...names.map((name) => [...name].reduce((sum, character) => sum + (character.codePointAt(0) > 0x1100 ? 2 : 1), 0)));
  return Math.min(columns * CHARACTER_PX + 12, width * 0.3);
}

/** A rectangle within a path. */
function box(left, right, top, bottom) {
  return `M${round(left)} ${round(top)}H${round(Math.max(right, left + LEAST_PX))}V${round(bottom)}H${round(left)}Z`;
}

function round(number) {
  return Math.round(number * 10) / 10;
}

function node(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children.flat(3).filter(Boolean));
  return element;
}

function text(content, attributes) {
  const element = node("text", attributes);
  element.textContent = content;
  return element;
}
