// Builds elements. Whatever comes as data becomes text, never markup: nothing here takes HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element: h("a", { href, class, onclick }, child, ...). Null and false children are left out. */
export function h(tag, props, ...children) {
  return dress(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function s(tag, props, ...children) {
  return dress(document.createElementNS(SVG, tag), props, children);
}

function dress(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  return children.flat(Infinity).filter((child) => child != null && child !== false && child !== "");
}

/** Replaces what is in an element. Focus, and details that stand open, are found again by their href, id or data-key. */
export function fill(element, ...children) {
  const focused = element.contains(document.activeElement) ? nameOf(document.activeElement) : null;
  const open = [...element.querySelectorAll("details[data-key]")].map((one) => [nameOf(one), one.open]);
  element.replaceChildren(...nodes(children));
  for (const [name, was] of open) {
    const again = element.querySelector(name);
    if (again) again.open = was;
  }
  if (focused) element.querySelector(focused)?.focus({ preventScroll: true });
}

function nameOf(element) {
  for (const name of ["data-key", "id", "href"]) {
    const value = element.getAttribute(name);
    if (value) return `[${name}="${CSS.escape(value)}"]`;
  }
  return null;
}

/** A place that is drawn anew only when what it shows has changed. `instead` puts something else there for a while. */
export function region(tag, props, draw) {
  const element = h(tag, props);
  let shown;
  return {
    element,
    show(...data) {
      const text = JSON.stringify(data);
      if (text !== shown) fill(element, draw(...data));
      shown = text;
    },
    instead(...children) {
      fill(element, ...children);
      shown = undefined;
    },
  };
}
