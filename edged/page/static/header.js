// The header of every page: the way to the other pages, the box in a few words, and a notice for each thing that is wrong.
import { announce, el, setChildren, setText } from "./dom.js";
import { follow, state } from "./live.js";
import { notices } from "./notices.js";
import { words } from "./words.js";

const facts = document.getElementById("box");
const links = document.getElementById("links");
const list = document.getElementById("notices");
const lower = document.getElementById("warnings") ?? list; // on the board, below the cameras that are wrong
const shown = new Map(); // by key: the element of a notice, and its function `update`
const factElements = ["connection", "model", "broker"].map(() => el("span", { class: "fact", hidden: true }));
const begun = Date.now();
const PATIENCE_MS = 2_000; // for the first event

const toBoard = el("a", { href: "/" }, words.allCameras);
const toLabels = el("a", { href: "/label" }, words.labelFrames);

facts.append(...factElements);
setTimeout(show, PATIENCE_MS);
follow((kind) => {
  if (kind !== "camera") show();
});

function show() {
  document.body.classList.toggle("disconnected", !state.connected && state.box !== null);
  if (!state.connected && Date.now() - begun < PATIENCE_MS) return;
  if (state.connected && !state.box) return;
  showLinks();
  showFacts();
  showNotices(notices(state.box, state.connected, state.full));
}

function showLinks() {
  const others = [toBoard, toLabels].filter((link) => link.pathname !== location.pathname);
  setChildren(links, others.filter((link) => link !== toLabels || state.box?.keeps_frames));
}

function showFacts() {
  const now = state.connected && state.box ? currentFacts(state.box) : [[state.full ? words.full : words.disconnected, "bad"]];
  factElements.forEach((element, place) => {
    const [text, level] = now[place] ?? ["", ""];
    element.hidden = !text;
    element.className = `fact ${level}`;
    setText(element, text);
  });
}

function currentFacts({ phase, model, broker }) {
  const loading = phase === "starting" && !model.loaded;
  return [
    [words.connected, "good"],
    loading ? [words.modelLoading, ""] : model.loaded ? [words.modelReady, "good"] : [words.modelMissing, "bad"],
    broker.connected ? [words.brokerConnected, "good"] : [words.brokerDisconnected, phase === "running" ? "bad" : ""],
  ];
}

/** Elements stay, so that nothing is read out again and an opened list stays open. */
function showNotices(now) {
  const keys = new Set(now.map((each) => each.key));
  for (const key of shown.keys()) if (!keys.has(key)) shown.delete(key);
  const fresh = now.filter((each) => !shown.has(each.key));
  for (const each of fresh) shown.set(each.key, noticeElement(each));
  for (const each of now) shown.get(each.key).update(each);
  const [upper, warnings] = [[], []];
  for (const each of now) (each.level === "warn" && lower !== list ? warnings : upper).push(shown.get(each.key).element);
  setChildren(list, upper);
  if (lower !== list) setChildren(lower, warnings);
  if (fresh.length) announce(fresh.map((each) => each.text).join(". "));
}

function noticeElement(notice) {
  const title = el("strong");
  const hint = el("p", { class: "small" });
  const lines = el("ul", { class: "small lines" });
  const top = notice.folded ? el("details", {}, el("summary", {}, title), lines) : el("p", {}, title);
  const element = el("li", { class: `notice ${notice.level}` }, top, notice.folded ? null : lines, hint);
  return { element, update };

  function update(now) {
    setText(title, now.text);
    setText(hint, now.hint);
    hint.hidden = !now.hint;
    setLines(lines, now.lines);
  }
}

function setLines(place, lines) {
  place.hidden = lines.length === 0;
  if (place.dataset.lines === JSON.stringify(lines)) return;
  place.dataset.lines = JSON.stringify(lines);
  place.replaceChildren(...lines.map((line) => el("li", { class: "mono" }, line)));
}
