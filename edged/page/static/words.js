// The words of the page in the language of the config.
import en from "./words-en.js";
import ko from "./words-ko.js";

export const words = document.documentElement.lang === "ko" ? ko : en;

const UNITS = [[86_400, "days"], [3_600, "hours"], [60, "minutes"]];

/** A duration as people say it, rounded down: "12 s", "4 min", "3 h", "2 days". */
export function duration(seconds) {
  for (const [size, unit] of UNITS) if (seconds >= size) return words[unit](Math.floor(seconds / size));
  return words.seconds(Math.max(0, Math.floor(seconds)));
}
