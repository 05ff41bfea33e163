// "Mix and mask": a second style and how much of it, and a mask painted over the photo.
import { Brush } from "./brush.js";

const $ = (id) => document.getElementById(id);
const PAINT = "Paint over what should stay as in the photo";

export class MixAndMask {
  // `changed(network)` is called when something was: whether the network has to run again for it.
  constructor(changed) {
    this.others = [];
    this.brush = new Brush($("mask"), $("brush"), $("erase"), () => changed(this.places()));
    $("clear").onclick = () => this.brush.clear() && changed(this.places());
    $("second").onchange = () => {
      this.update();
      changed(true);
    };
    $("share").onchange = () => changed(true);
    $("goal").onchange = () => this.brush.painted && changed(true);
  }

  // The style that was chosen, of `models`: others of its network can be mixed with it.
  choose(model, models) {
    const before = $("second").value;
    const others = models.filter((one) => one.file === model.file && one.index !== model.index);
    const options = [["", "None"], ...others.map((one) => [one.index, one.title])];
    $("second").replaceChildren(...options.map(([value, text]) => new Option(text, value)));
    $("second").value = this.model?.file === model.file && others.some((one) => String(one.index) === before) ? before : "";
    this.model = model;
    this.others = others;
    $("seconds").hidden = !others.length;
    this.update();
  }

  // A photo {bitmap, url}, of which nothing is painted over yet.
  photo({ bitmap, url }) {
    $("under").src = url;
    $("over").hidden = $("brushes").hidden = false;
    this.brush.start(bitmap.width, bitmap.height);
    this.update();
  }

  update() {
    for (const one of document.querySelectorAll(".second")) one.hidden = !this.second;
    const there = this.second ? `${PAINT}, or where the second style goes.` : `${PAINT}.`;
    $("hint").textContent = $("over").hidden ? "To paint a mask, choose a photo first." : there;
  }

  get second() {
    return this.others.find((one) => String(one.index) === $("second").value);
  }

  // Whether what is painted is where the second style goes, not what stays of the photo.
  places() {
    return Boolean(this.second) && $("goal").value === "second";
  }

  // As `styleInput` (core.js) takes it.
  mix() {
    const first = this.model.index ?? 0;
    const second = this.second?.index ?? first;
    return { first, second, share: this.second ? Number($("share").value) : 0, keeps: !this.places() };
  }

  // Which mask is kept of the photo, a number; 0 for none.
  get kept() {
    return this.brush.painted && !this.places() ? this.brush.version : 0;
  }

  mask(width, height) {
    return this.brush.values(width, height);
  }

  // What results are called.
  label() {
    return this.second ? `${this.model.label}+${this.second.label}` : this.model.label;
  }
}
