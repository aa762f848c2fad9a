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

/** Set an attribute, without touching it if it is the same. */
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Have a screen reader say this. */
export function announce(text) {
  setText(document.getElementById("announced"), text);
}

/** Make `place` have exactly these children, in this order. Those that are there already are not touched. */
export function setChildren(place, elements) {
  const wanted = new Set(elements);
  for (const child of [...place.children]) if (!wanted.has(child)) child.remove();
  elements.forEach((element, index) => {
    if (place.children[index] !== element) place.insertBefore(element, place.children[index] ?? null);
  });
}

/** Set an element's text, without touching it if it is the same: a screen reader is told of changes only. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
