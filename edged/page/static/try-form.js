// The form of a prompt: its text, the type of its answer, and the region that it is about.
import { el, setAttribute } from "./dom.js";
import { words } from "./words.js";

const TYPES = ["text", "yes_no", "integer", "number", "choices", "json"];
const SAMPLE_SCHEMA = { type: "object", properties: { people: { type: "integer", minimum: 0, maximum: 9 } } };
const LONGEST = 8_000; // characters of a prompt

/** {element, follow(camera, allowed), request()}. `submit` is called when the form is sent, also by Ctrl+Enter. */
export function tryForm(submit) {
  const fields = newFields();
  const all = el("fieldset", { class: "try-fields" }, ...layout(fields));
  const element = el("form", { id: "try-form", onsubmit: sent, onkeydown: pressed }, all);
  let questions = []; // of the camera, as they were listed last
  let values = null; // of the choices of the question that was chosen, by label
  fields.begin.addEventListener("change", chosen);
  fields.type.addEventListener("change", () => showType(fields));
  showType(fields);
  return { element, follow, request: () => request(fields, values) };

  function sent(event) {
    event.preventDefault();
    submit();
  }

  function pressed(event) {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    submit();
  }

  function follow(camera, allowed) {
    all.disabled = !allowed;
    questions = camera.questions;
    list(fields.begin, [["", words.trying.fresh], ...questions.map((question) => [question.name, question.title])]);
    list(fields.region, [["", words.trying.whole], ...camera.regions.map((region) => [region.name, region.name])]);
    fields.region.parentElement.hidden = !camera.regions.length;
  }

  function chosen() {
    const question = questions.find((each) => each.name === fields.begin.value);
    if (!question) return;
    values = question.choices ? new Map(question.choices.map(({ label, value }) => [label, value])) : null;
    fill(fields, question);
    fields.prompt.focus();
  }
}

function newFields() {
  return {
    begin: el("select", { id: "try-begin" }),
    prompt: el("textarea", { id: "try-prompt", rows: 3, maxlength: LONGEST, "aria-keyshortcuts": "Control+Enter" }),
    type: el("select", { id: "try-type" }, TYPES.map((type) => el("option", { value: type }, words.trying.types[type]))),
    low: el("input", { id: "try-low", type: "number", step: "any" }),
    high: el("input", { id: "try-high", type: "number", step: "any" }),
    choices: el("textarea", { id: "try-choices", rows: 4 }),
    schema: el("textarea", { id: "try-schema", rows: 6, class: "mono", spellcheck: "false" }, JSON.stringify(SAMPLE_SCHEMA, null, 2)),
    region: el("select", { id: "try-region" }),
  };
}

function layout(fields) {
  const { trying } = words;
  const field = (name, text) => el("div", { class: `field ${name}` }, el("label", { for: fields[name].id }, text), fields[name]);
  return [
    field("begin", trying.begin), field("prompt", trying.prompt),
    el("div", { class: "try-row" },
      field("type", trying.type), field("low", trying.low), field("high", trying.high), field("region", trying.region)),
    field("choices", trying.choices), field("schema", trying.schema),
  ];
}

/** Only the fields that belong to the type. */
function showType({ type, low, high, choices, schema }) {
  const isNumber = ["integer", "number"].includes(type.value);
  for (const bound of [low, high]) bound.parentElement.hidden = !isNumber;
  choices.parentElement.hidden = type.value !== "choices";
  schema.parentElement.hidden = type.value !== "json";
}

/** As the question of the config is asked. */
function fill(fields, question) {
  fields.prompt.value = question.wording;
  fields.type.value = question.type;
  fields.low.value = question.range?.[0] ?? "";
  fields.high.value = question.range?.[1] ?? "";
  fields.choices.value = (question.choices ?? []).map((choice) => choice.label).join("\n");
  if (question.schema) fields.schema.value = JSON.stringify(question.schema, null, 2);
  fields.region.value = question.region ?? "";
  showType(fields);
}

/** The options of a select. What is chosen stays chosen, if it is still there. */
function list(select, options) {
  const same = select.options.length === options.length
    && options.every(([value, text], place) => select.options[place].value === value && select.options[place].text === text);
  if (same) return;
  const { value } = select;
  select.replaceChildren(...options.map(([name, text]) => el("option", { value: name }, text)));
  select.value = options.some(([name]) => name === value) ? value : "";
}

/** {request}, the keys of a question, or {problem}, a sentence. What else is wrong, edged says. */
function request(fields, values) {
  const prompt = fields.prompt.value;
  setAttribute(fields.prompt, "aria-invalid", !prompt.trim());
  if (!prompt.trim()) return { problem: words.trying.noPrompt };
  const { answer, range, problem } = typed(fields, values);
  if (problem) return { problem };
  return { request: { prompt, answer, range, region: fields.region.value || null } };
}

function typed(fields, values) {
  switch (fields.type.value) {
    case "choices": return { answer: choices(fields.choices.value, values), range: null };
    case "json": return schema(fields.schema.value);
    case "integer": case "number": return range(fields);
    default: return { answer: fields.type.value, range: null };
  }
}

/** A list of texts, or labels with the values that the config has for exactly these. */
function choices(text, values) {
  const labels = text.split("\n").map((line) => line.trim()).filter(Boolean);
  const known = values && labels.length === values.size && labels.every((label) => values.has(label));
  return known ? { choices: Object.fromEntries(labels.map((label) => [label, values.get(label)])) } : labels;
}

function schema(text) {
  try {
    return { answer: { json: JSON.parse(text) }, range: null };
  } catch (error) {
    return { problem: words.trying.noSchema(error.message) };
  }
}

function range({ type, low, high }) {
  const bounds = [low.value, high.value];
  if (bounds.every((bound) => bound === "")) return { answer: type.value, range: null };
  if (bounds.includes("")) return { problem: words.trying.bothBounds };
  return { answer: type.value, range: bounds.map(Number) };
}
