// A button that copies a text. Where the browser's clipboard is not available, the text is selected instead.
import { el, setText } from "./dom.js";
import { words } from "./words.js";

const SHOWN_MS = 3_000;

/** `source` is the element whose text is copied. */
export function copyButton(source) {
  const button = el("button", { type: "button", class: "copy", "aria-live": "polite", onclick: copy }, words.copy);
  let timer = 0;

  async function copy() {
    setText(button, (await copied(source)) ? words.copied : words.copySelected);
    clearTimeout(timer);
    timer = setTimeout(() => setText(button, words.copy), SHOWN_MS);
  }

  return button;
}

/** False if the text is selected only. Over plain HTTP, browsers have a clipboard for this machine's own pages only. */
async function copied(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(source);
    return document.execCommand("copy");
  }
}
