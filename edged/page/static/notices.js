// What is wrong with the box, as a list: the worst first. Pure.
import { duration, words } from "./words.js";

const LATE_S = 5;

/**
 * Notices {key, level: "bad" | "warn" | "", text, hint, lines, folded} about the box, null before anything is known.
 * `connected`: the page hears from edged. `full`: it does not because too many pages are open.
 */
export function notices(box, connected, full = false) {
  if (full) return [notice("full", "bad", words.full, words.fullHint)];
  if (!connected) return [notice("connection", "bad", words.disconnected, words.disconnectedHint)];
  if (!box) return [];
  const all = [...phase(box), ...model(box), ...config(box), ...broker(box), ...store(box), ...time(box)];
  return [...all.filter((each) => each.level === "bad"), ...all.filter((each) => each.level !== "bad")];
}

function notice(key, level, text, hint = "", lines = [], folded = false) {
  return { key, level, text, hint, lines, folded };
}

function phase(box) {
  if (box.phase === "starting") return [notice("phase", "", words.starting, words.startingHint)];
  return box.phase === "stopping" ? [notice("phase", "warn", words.stopping)] : [];
}

function model(box) {
  if (box.model.loaded || box.phase !== "running") return [];
  return [notice("model", "bad", words.modelMissing, words.modelMissingHint)];
}

function config(box) {
  const { problems, warnings } = box.config;
  const wrong = words.problems(problems.length);
  return [
    ...(problems.length ? [notice("problems", "bad", wrong, words.problemsHint, problems)] : []),
    ...(warnings.length ? [notice("warnings", "warn", words.warnings(warnings.length), "", warnings, true)] : []),
  ];
}

function broker(box) {
  const { url, connected, waiting, dropped, refused } = box.broker;
  const away = `${words.brokerHint(url)} ${waiting ? words.waiting(waiting) : ""}`;
  return [
    ...(connected || box.phase !== "running" ? [] : [notice("broker", "bad", words.brokerDisconnected, away.trim())]),
    ...(dropped ? [notice("dropped", "warn", words.dropped(dropped), words.droppedHint)] : []),
    ...(refused ? [notice("refused", "warn", words.refused(refused), words.refusedHint)] : []),
  ];
}

function store(box) {
  return [
    ...(box.store.working ? [] : [notice("store", "bad", words.storeFailed, words.storeFailedHint)]),
    ...(box.store.lost ? [notice("lost", "warn", words.lost(box.store.lost), words.lostHint)] : []),
  ];
}

function time(box) {
  return [
    ...(box.clock_synced ? [] : [notice("clock", "warn", words.clock, words.clockHint)]),
    ...(box.lateness_s > LATE_S ? [notice("late", "warn", words.late(duration(box.lateness_s)), words.lateHint)] : []),
  ];
}
