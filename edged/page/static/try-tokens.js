// The tokens of a reply in their order, and for one of them what the model could have chosen instead.
import { el, setAttribute } from "./dom.js";
import { percent, words } from "./words.js";

const CONTROL = /[\u0000-\u001f\u007f-\u009f]/g;

/** `tokens` as /api/try has them. The least certain one is open first. */
export function tokensView(tokens) {
  const options = el("ul", { class: "token-options" });
  const chips = tokens.map((token) => chip(token, () => open(token)));
  open(tokens.reduce((least, each) => (each.chosen.probability < least.chosen.probability ? each : least)));
  return el("section", { class: "try-tokens" },
    el("h3", {}, words.trying.tokens), el("p", { class: "muted small" }, words.trying.tokensHint),
    el("div", { class: "token-chips" }, chips), options);

  function open(token) {
    chips.forEach((each, place) => setAttribute(each, "aria-pressed", tokens[place] === token));
    options.replaceChildren(option(token.chosen, true), ...token.others.map((other) => option(other, false)));
  }
}

function chip({ chosen }, choose) {
  return el("button", {
    type: "button", class: "token-chip mono", "aria-pressed": "false", onclick: choose,
    "aria-label": words.trying.token(spoken(chosen), percent(chosen.probability)),
  }, shown(chosen), bar(chosen.probability));
}

function option(token, isChosen) {
  return el("li", { class: isChosen ? "chosen" : "" },
    el("span", { class: "mono token-text" }, shown(token)),
    bar(token.probability),
    el("span", { class: "numbers" }, percent(token.probability)),
    token.allowed ? null : el("span", { class: "muted small" }, words.trying.notAllowed));
}

function bar(probability) {
  const fill = el("span", { class: "token-fill" });
  fill.style.width = `${probability * 100}%`;
  return el("span", { class: "token-bar", "aria-hidden": "true" }, fill);
}

/** Spaces and line breaks as signs, other control characters by their numbers. */
function shown({ text }) {
  if (text === null) return words.trying.end;
  return text.replaceAll(" ", "␣").replaceAll("\n", "⏎").replace(CONTROL, numbered);
}

function numbered(character) {
  return `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
}

function spoken({ text }) {
  if (text === null) return words.trying.end;
  return text.trim() || words.trying.space;
}
