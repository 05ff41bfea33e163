// Names, roles and keys that Gradio's components lack: for who hears the page, or has no mouse.
const NAMED = [
  ["#compared .content img:first-of-type", "alt", "Before"],
  ["#compared .content img:last-of-type", "alt", "After"],
  ["#sample img", "alt", "The sample"],
  ["#grown img", "alt", "Photos above, what the network makes of them below"],
  [".empty[aria-label]", "role", "img"],
  ['[id^="said-"]', "role", "status"],
  ['[title="common.webcam"]', "aria-label", "Take a photo"], // a text that Gradio has not translated
  ['[title="common.webcam"]', "title", "Take a photo"],
  // The button for uploads lies within another that does nothing.
  [".icon-button:has(button)", "role", "group"],
  [".icon-button:has(button)", "tabindex", "-1"],
  ['#compared [data-testid="slider"]', "role", "slider"],
  ['#compared [data-testid="slider"]', "tabindex", "0"],
  ['#compared [data-testid="slider"]', "aria-label", "Before and after"],
  ["#compared .inner", "aria-hidden", "true"],
  ["#mask .image-container", "role", "group"],
  ["#mask .image-container", "aria-label", "The photo, to paint a mask over"],
  ["#mask .swatch button:first-child", "aria-label", "Full brush"],
  ["#mask .swatch button:last-child", "aria-label", "Lighter brush, half the effect"],
  ["#mask .size_picker input", "aria-label", "Size of the brush"],
];

function set(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value); // else this would call itself
}

function mend() {
  for (const [selector, name, value] of NAMED) for (const node of document.querySelectorAll(selector)) set(node, name, value);
  for (const tile of document.querySelectorAll(".thumbnail-item")) { // "Thumbnail 1 of 8" to Gradio
    const caption = tile.querySelector(".caption-label")?.textContent.trim();
    if (caption) set(tile, "aria-label", caption);
    if (tile.closest("#styles, #textures")) set(tile, "aria-pressed", String(tile.matches(".selected")));
  }
  for (const handle of document.querySelectorAll('#compared [data-testid="slider"]'))
    set(handle, "aria-valuenow", String(Math.round(100 * share(handle))));
}

// Where the line between before and after is, from 0 to 1.
function share(handle) {
  const [outer, box] = [handle.getBoundingClientRect(), handle.parentElement.getBoundingClientRect()];
  return box.width ? Math.min(1, Math.max(0, (outer.left + outer.width / 2 - box.left) / box.width)) : 0;
}

// Gradio's line is dragged by a mouse and nothing else: the keys drag it.
document.addEventListener("keydown", (event) => {
  const handle = event.target.closest('#compared [data-testid="slider"]');
  const goal = { ArrowLeft: -0.05, ArrowDown: -0.05, ArrowRight: 0.05, ArrowUp: 0.05, Home: -1, End: 1 }[event.key];
  if (!handle || !goal) return;
  event.preventDefault();
  const box = handle.parentElement.getBoundingClientRect();
  const [from, y] = [share(handle), box.top + box.height / 2];
  const mouse = (kind, where, target) =>
    target.dispatchEvent(new MouseEvent(kind, { bubbles: true, view: window, clientX: box.left + where * box.width, clientY: y }));
  const to = Math.min(1, Math.max(0, from + goal));
  mouse("mousedown", from, handle);
  mouse("mousemove", to, window);
  mouse("mouseup", to, window);
});

let due = 0;
new MutationObserver(() => {
  due ||= requestAnimationFrame(() => {
    due = 0;
    mend();
  });
}).observe(document.documentElement, { childList: true, subtree: true, attributeFilter: ["class", "style", "aria-label", "alt", "title"] });
