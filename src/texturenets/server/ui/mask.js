// What is painted in the mask counts after each stroke: Gradio's editor hands it over when its button for that is
// pressed. Its labels are in the browser's language; the last buttons are undo, redo, that one, and clear.
const BUTTON = (last) => `#mask .top-panel > button:nth-last-of-type(${last})`;
let stroke = false;

function handOver() {
  setTimeout(() => document.querySelector(BUTTON(2))?.click(), 100); // when the editor has drawn it
}

document.addEventListener("pointerdown", ({ target }) => (stroke = target.matches("#mask canvas")), true);
document.addEventListener("pointerup", () => {
  if (stroke) handOver();
  stroke = false;
}, true);
document.addEventListener("click", ({ target }) => target.closest(`${BUTTON(4)}, ${BUTTON(3)}`) && handOver(), true);
