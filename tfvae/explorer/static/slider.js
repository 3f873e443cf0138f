// A labelled range input whose value is said in words.

const STEPS = 200;
const MINUS = "\u2212";

/** Adds a slider to a list; `onInput(value, event)`; `words(value)` is what is shown and said. */
export class Slider {
  constructor(list, { id, title, hint, range, words, onInput }) {
    const [low, high] = range;
    this.words = words;
    this.input = document.createElement("input");
    Object.assign(this.input, { type: "range", id, min: low, max: high, step: (high - low) / STEPS });
    const label = document.createElement("label");
    label.htmlFor = id;
    label.textContent = title;
    this.shown = document.createElement("span");
    this.shown.className = "value";
    // The slider says it itself.
    this.shown.ariaHidden = "true";
    const item = document.createElement("li");
    item.className = "slider";
    item.append(label, this.shown);
    if (hint) {
      const note = document.createElement("p");
      note.id = `${id}-hint`;
      note.className = "hint";
      note.textContent = hint.replace(/-(?=\d)/g, MINUS);
      this.input.setAttribute("aria-describedby", note.id);
      item.append(note);
    }
    item.append(this.input);
    this.input.addEventListener("input", (event) => onInput(this.input.valueAsNumber, event));
    list.append(item);
  }

  /** Shows a value; the handle stays where the user holds it. */
  show(value, holdHandle = false) {
    if (!holdHandle) this.input.value = value;
    const text = this.words(value);
    this.shown.textContent = text;
    this.input.setAttribute("aria-valuetext", text);
  }
}

/** A number with two digits behind the point and a true minus sign. */
export function inWords(value) {
  return (Math.abs(value) < 0.005 ? 0 : value).toFixed(2).replace("-", MINUS);
}

export function percent(share) {
  return `${Math.round(100 * share)} %`;
}
