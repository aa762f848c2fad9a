// The words of the page in the language of the config.
import en from "./words-en.js";
import ko from "./words-ko.js";

export const words = document.documentElement.lang === "ko" ? ko : en;
