// The board: what needs attention, and a card for each camera.
import { attention } from "./attention.js";
import { cameraCard } from "./card.js";
import { announce, el, setChildren, setText } from "./dom.js";
import { eachSecond, follow, state } from "./live.js";
import { notices } from "./notices.js";
import { words } from "./words.js";

const place = document.getElementById("cameras");
const summary = document.getElementById("summary");
const list = document.getElementById("attention");
const cards = new Map(); // by name of the camera
const items = new Map(); // by camera and key: what is in the list
const title = document.title;

follow((kind, name) => {
  if (kind === "camera") showCamera(name);
  else show();
});
eachSecond(show); // ages

function show() {
  const names = state.box?.cameras ?? [];
  for (const name of cards.keys()) if (!names.includes(name)) cards.delete(name);
  names.forEach(showCard);
  setChildren(place, names.filter((name) => cards.has(name)).map((name) => cards.get(name).element));
  showSummary();
}

function showCamera(name) {
  if (!cards.has(name)) return show();
  showCard(name);
  showSummary();
}

function showCard(name) {
  const camera = state.cameras.get(name);
  if (!camera) return;
  if (!cards.has(name)) cards.set(name, cameraCard(name));
  cards.get(name).update(camera);
}

function showSummary() {
  const cameras = (state.box?.cameras ?? []).map((name) => state.cameras.get(name)).filter(Boolean);
  const now = state.connected ? cameras.flatMap((camera) => attention(camera, cards.get(camera.name).frame())) : [];
  const levels = state.box ? notices(state.box, state.connected).map((each) => each.level) : [];
  const alerts = now.filter((each) => each.kind === "alert").length;
  const problems = now.length - alerts + levels.filter((level) => level === "bad").length;
  const warnings = levels.filter((level) => level === "warn").length;
  setText(summary, state.box ? summaryText(cameras.length, alerts, problems, warnings) : words.waitingForEdged);
  summary.className = alerts + problems ? "bad" : warnings ? "warn" : "";
  const count = state.paused ? 0 : alerts + problems; // a hidden tab would keep its count for hours
  setText(document.querySelector("title"), count ? `(${count}) ${title}` : title);
  showItems(now);
}

function summaryText(cameras, alerts, problems, warnings) {
  const counts = [
    alerts && words.alertCount(alerts), problems && words.problemCount(problems), warnings && words.warningCount(warnings),
  ].filter(Boolean);
  if (!cameras) return words.noCameras;
  return counts.join(", ") || words.allWell(words.cameras(cameras));
}

function showItems(now) {
  const keyed = now.map((item) => [`${item.camera.name} ${item.key}`, item]);
  const keys = new Set(keyed.map(([key]) => key));
  for (const key of items.keys()) if (!keys.has(key)) items.delete(key);
  const fresh = keyed.filter(([key]) => !items.has(key));
  for (const [key, item] of fresh) items.set(key, itemElement(item));
  for (const [key, item] of keyed) items.get(key).update(item);
  setChildren(list, keyed.map(([key]) => items.get(key).element));
  if (fresh.length) announce(fresh.map(([, item]) => `${item.camera.title}: ${item.text}`).join(". "));
}

function itemElement({ camera, kind }) {
  const link = el("a", { href: `#camera-${camera.name}` });
  const text = el("strong");
  const reason = el("span", { class: "small" });
  return { element: el("li", { class: `notice bad item ${kind}` }, el("p", {}, link, " ", text, " ", reason)), update };

  function update(item) {
    setText(link, item.camera.title);
    setText(text, item.text);
    setText(reason, item.reason);
  }
}
