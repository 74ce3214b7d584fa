// The slider in time (film.py). What a hand asks for goes out as a message, one at a time, and what
// is shown comes back in traits: nothing that Python sets is ever sent back.

function part(tag, name, values = {}) {
  return Object.assign(document.createElement(tag), { className: `mpkit-film-${name}`, ...values });
}

function render({ model, el }) {
  const slider = part("input", "slider", { type: "range" });
  slider.setAttribute("aria-label", `Time: look back at one ${model.get("unit")} of the run`);
  const words = part("span", "words");
  words.setAttribute("aria-hidden", "true"); // the slider says it, and only to who asks
  const now = part("button", "now", { type: "button", textContent: "Now" });
  now.title = "Go to the end, and follow the run";
  now.setAttribute("aria-label", `Now: go to the last ${model.get("unit")}, and follow the run`);
  const note = part("div", "note");
  const row = part("div", "row");
  row.append(part("span", "name", { textContent: "Time" }), slider, words, now);
  el.classList.add("mpkit-film");
  // Or JupyterLab takes the keys for itself; it looks at what has the focus, and not above.
  for (const some of [slider, now]) some.dataset.lmSuppressShortcuts = "true";
  el.append(row, note);
  let held = false, waiting = false, next = null;

  function ask(step) {
    if (waiting) {
      next = step;
      return;
    }
    waiting = true;
    model.send({ step });
  }

  function show() {
    const [first, last, every, live] = ["first", "last", "every", "live"].map((n) => model.get(n));
    const none = last <= first;
    slider.disabled = none;
    now.disabled = none || live;
    now.setAttribute("aria-pressed", String(live));
    words.textContent = model.get("words");
    slider.setAttribute("aria-valuetext", model.get("words") + (live ? ", now" : ""));
    note.textContent = model.get("note");
    el.classList.toggle("mpkit-film-back", !live);
    if (held || next !== null) return; // the hand knows better where it is
    slider.min = first;
    slider.step = every;
    slider.max = none ? first + 1 : first + Math.ceil((last - first) / every) * every;
    slider.value = live && !none ? slider.max : model.get("at");
    slider.style.setProperty("--share", (slider.value - first) / Math.max(1, slider.max - first));
  }

  slider.addEventListener("pointerdown", () => (held = true));
  for (const kind of ["pointerup", "pointercancel", "blur"]) {
    slider.addEventListener(kind, () => {
      held = false;
      show();
    });
  }
  slider.addEventListener("input", () => {
    const share = (slider.value - slider.min) / (slider.max - slider.min);
    slider.style.setProperty("--share", share);
    ask(slider.value === slider.max ? Number.MAX_SAFE_INTEGER : Number(slider.value));
  });
  now.addEventListener("click", () => {
    ask(Number.MAX_SAFE_INTEGER);
    slider.focus();
  });
  const answered = () => {
    waiting = false;
    if (next === null) return show();
    const step = next;
    next = null;
    ask(step);
  };
  const names = ["first", "last", "every", "at", "live", "words", "note"].map((n) => `change:${n}`);
  model.on(names.join(" "), show);
  model.on("msg:custom", answered);
  show();
  return () => {
    model.off(names.join(" "), show);
    model.off("msg:custom", answered);
  };
}

export default { render };
