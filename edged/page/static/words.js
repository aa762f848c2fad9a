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

/** A share from 0 to 1: "93.1 %". */
export function percent(share) {
  if (share > 0 && share < 0.001) return "<0.1 %";
  if (share < 1 && share > 0.999) return ">99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}
