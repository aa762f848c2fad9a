// Builds elements. Text is always set as text: nothing of a config, an answer or a reason is ever parsed as HTML.

/** An element with attributes and children. Strings become text; null children are left out. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set an element's text, without touching it if it is the same: a screen reader is told of changes only. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
