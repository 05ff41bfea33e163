// Gradio tells what goes wrong in the browser (a file too large, a lost connection) in a box of its own, in its own
// words. The page has one place for that in each tab, `.said`, and words of its own.
const WORDS = [
  [/exceeds the maximum allowed size of (\d+) bytes: (.*)/, (m) => `${m[2]} is too large: at most ${Number((m[1] / 1048576).toPrecision(2))} MB a file.`],
  [/exceed the maximum allowed size of ([\d.]+) (\w+): (.*)/, (m) => `${m[3].replaceAll('"', "")}: too large, at most ${m[1]} ${m[2].toUpperCase()} a file.`],
  [/Invalid file types?: (.*?)\. Only/, (m) => `${m[1]}: no image that can be read here.`],
  [/"detail": ?"([^"]*)"/, (m) => `${m[1].replace("the body", "the upload")}.`],
  [/413|too large/i, () => "That is too much at once: give fewer or smaller files."],
  [/connection|fetch|network|load failed/i, () => "The service does not answer: is it still running? Load the page again."],
  [/clipboard/i, () => "There is no image in the clipboard."],
];

function place() {
  return [...document.querySelectorAll(".said")].find((one) => one.offsetParent !== null);
}

// A text that CSS shows (data-wrong) is read out by few screen readers.
const heard = Object.assign(document.createElement("div"), { className: "heard" });
heard.setAttribute("role", "alert");

function say(said) {
  const there = place();
  if (!there) return false;
  there.dataset.wrong = said;
  document.body.append(heard);
  heard.textContent = said;
  return true;
}
window.texturenetsSay = say;

function tell(text) {
  const found = WORDS.map(([known, words]) => [text.match(known), words]).find(([match]) => match);
  return say(found ? found[1](found[0]) : text);
}

// What the tab says next takes its place, and so does what the visitor does next: a tab may say the same once more.
new MutationObserver((changes) => {
  for (const { target, addedNodes } of changes) {
    const there = (target.nodeType === 1 ? target : target.parentElement)?.closest(".said");
    if (there) delete there.dataset.wrong;
    for (const node of addedNodes) {
      if (node.nodeType !== 1) continue;
      const box = node.closest(".toast-body") ?? node.querySelector(".toast-body");
      if (!box || !box.matches(".error, .warning")) continue;
      const last = [...box.querySelectorAll(".toast-text")].at(-1) ?? box;
      if (!tell(last.textContent.trim())) continue;
      box.style.display = "none";
      // Gradio puts the next one of its kind into the same box, unless it is closed.
      box.querySelector(".toast-close")?.click();
    }
  }
}).observe(document.documentElement, { childList: true, subtree: true, characterData: true });

for (const kind of ["click", "input", "change", "drop", "paste"])
  document.addEventListener(kind, ({ target, isTrusted }) => {
    if (kind === "click" && !(isTrusted && target.closest("button, input, label"))) return;
    for (const one of document.querySelectorAll(".said")) delete one.dataset.wrong;
  }, true);

// On a narrow screen what was made is below what it was made of.
window.texturenetsSeen = (id) => {
  if (window.innerWidth > 640) return;
  document.getElementById(id)?.scrollIntoView({ block: "nearest", behavior: "smooth" });
};
