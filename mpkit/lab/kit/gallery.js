// Pictures drawn on canvases from the bytes that Python sends: planes of grey or RGB, uint8.
// Presses go to Python as messages; nothing here writes a trait back.

const bytes = (model, name) => {
  const view = model.get(name);
  return view ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength) : new Uint8Array();
};

/** Draws one picture: `level(i)` is the level of its i-th number, plane after plane. */
function paint(canvas, [planes, height, width], level) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const size = width * height, image = new ImageData(width, height);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < 3; j++) image.data[4 * i + j] = level(i + (planes === 3 ? j * size : 0));
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function made(kind, className, parent, text) {
  const part = document.createElement(kind);
  if (className) part.className = className;
  if (text !== undefined) part.textContent = text;
  if (parent) parent.append(part);
  return part;
}

function button(parent, pressed) {
  const part = made("button", "mpkit-picture", parent);
  part.type = "button";
  part.canvas = made("canvas", "", part);
  part.note = made("span", "mpkit-note", part);
  part.note.setAttribute("aria-hidden", "true"); // the button's name says it
  part.addEventListener("click", pressed);
  return part;
}

/** One stop of the Tab key for all buttons of `box`; arrows, Home and End move among them. */
function roving(box, columns) {
  const all = () => [...box.querySelectorAll("button.mpkit-picture")];
  const stop = (at) => all().forEach((b) => (b.tabIndex = b === at ? 0 : -1));
  box.addEventListener("focusin", (e) => stop(e.target));
  box.addEventListener("keydown", (e) => {
    const buttons = all(), at = buttons.indexOf(e.target);
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() }[e.key];
    const to = { Home: 0, End: buttons.length - 1 }[e.key] ?? at + by;
    if (at < 0 || !buttons[to]) return;
    e.preventDefault();
    buttons[to].focus();
  });
  return () => all().some((b) => b.tabIndex === 0) || stop(all()[0]);
}

/** A row of pictures with captions; they can be pressed where `press` is true. */
function row({ model, el }) {
  const box = made("div", "mpkit-row", el), settle = roving(box, () => 1);
  box.setAttribute("role", "group");
  function draw() {
    const shape = model.get("shape"), pixels = bytes(model, "pixels");
    const captions = model.get("captions"), names = model.get("names"), press = model.get("pressable");
    const size = shape[0] * shape[1] * shape[2];
    box.setAttribute("aria-label", model.get("label"));
    box.style.setProperty("--picture", `${model.get("size")}px`);
    if (box.children.length !== captions.length || box.press !== press) {
      box.replaceChildren();
      box.press = press;
      captions.forEach((_, i) => {
        const cell = made("div", "mpkit-cell", box);
        cell.face = press ? button(cell, () => model.send({ pick: i })) : made("canvas", "", cell);
        cell.caption = made("span", "mpkit-caption", cell);
      });
    }
    [...box.children].forEach((cell, i) => {
      paint(cell.face.canvas ?? cell.face, shape, (k) => pixels[i * size + k]);
      cell.caption.textContent = captions[i];
      cell.classList.toggle("mpkit-framed", model.get("framed")[i] === true);
      cell.face.setAttribute("aria-label", names[i]);
      if (!press) return cell.face.setAttribute("role", "img");
      cell.face.title = names[i];
      cell.face.disabled = !model.get("enabled");
      cell.face.setAttribute("aria-pressed", model.get("picked") === i);
    });
    if (press) settle();
  }
  model.on("change", draw);
  draw();
  return () => model.off("change", draw);
}

const ROWS = ["base", "change", "poison"];

/** The target beside rows of bases, changes and poisons, and a ghost of it over the changes. */
function table({ model, el }) {
  el.classList.add("mpkit-pictures");
  const box = made("div", "mpkit-gallery", el);
  box.setAttribute("role", "group");
  const aside = made("div", "mpkit-aside", box);
  const above = made("div", "mpkit-target", aside);
  const target = made("canvas", "", above), called = made("div", "mpkit-called", above);
  const below = made("div", "mpkit-common", aside);
  const mean = made("canvas", "", below), like = made("div", "mpkit-caption", below);
  const wide = made("div", "mpkit-wide", box), grid = made("div", "mpkit-grid", wide);
  const label = made("label", "mpkit-ghost", wide, "ghost of the target over the changes ");
  const ghost = made("input", "", label);
  Object.assign(ghost, { type: "range", min: 0, max: 100, value: 0 });
  const share = made("output", "", label);
  for (const canvas of [target, mean]) canvas.setAttribute("role", "img");
  let columns = [], heads = [];
  const settle = roving(grid, () => columns.length);

  function build(count) {
    grid.replaceChildren();
    grid.style.setProperty("--columns", count);
    columns = Array.from({ length: count }, () => ({}));
    const pick = (i) => () => model.send({ pick: model.get("first") + i });
    made("span", "", grid);
    for (const c of columns) c.number = made("span", "mpkit-caption", grid);
    heads = ROWS.map((name) => {
      const head = made("span", "mpkit-head", grid, name);
      columns.forEach((c, i) => (c[name] = button(grid, pick(i))));
      return head;
    });
    heads.push(made("span", "mpkit-head", grid));
    for (const c of columns) c.word = made("span", "mpkit-caption", grid);
  }

  function haunt(canvas) {
    const pen = canvas.getContext("2d");
    pen.globalAlpha = ghost.value / 100;
    if (ghost.value > 0) pen.drawImage(target, 0, 0);
    pen.globalAlpha = 1;
  }

  function draw() {
    const shape = model.get("shape"), size = shape[0] * shape[1] * shape[2];
    const bases = bytes(model, "bases"), poisons = bytes(model, "poisons");
    const count = Math.floor(bases.length / (size || 1)), first = model.get("first");
    const words = model.get("words"), factor = model.get("factor"), out = model.get("out");
    const seen = bytes(model, "target"), common = bytes(model, "mean"), kind = model.get("kinds");
    if (count !== columns.length) build(count);
    box.setAttribute("aria-label", model.get("label"));
    paint(target, shape, (k) => seen[k]);
    paint(mean, shape, (k) => common[k]);
    haunt(mean);
    called.textContent = words.target ?? "";
    target.setAttribute("aria-label", words.target ?? "");
    mean.setAttribute("aria-label", words.mean ?? "");
    like.textContent = words.likeness ?? "";
    share.textContent = ` ${ghost.value} %`;
    heads[1].textContent = words.change ?? "";
    heads[3].textContent = model.get("captions").some(Boolean) ? words.captions ?? "" : "";
    columns.forEach((c, i) => {
      const number = first + i, gone = out.includes(number), at = i * size;
      const poison = (k) => (gone ? bases : poisons)[at + k];
      paint(c.base.canvas, shape, (k) => bases[at + k]);
      paint(c.change.canvas, shape, (k) => 127.5 + factor * (poison(k) - bases[at + k]));
      haunt(c.change.canvas);
      paint(c.poison.canvas, shape, poison);
      c.number.textContent = number + 1;
      c.word.textContent = model.get("captions")[i] ?? "";
      const state = gone ? ", taken out: the base stands in its place" : "";
      const names = [
        `base ${number + 1}, ${kind[i] ?? ""}`,
        `change of poison ${number + 1}, magnified ${Math.round(factor)} times${state}`,
        `poison ${number + 1}, ${kind[i] ?? ""}${state}`,
      ];
      ROWS.forEach((name, j) => {
        c[name].setAttribute("aria-label", names[j]);
        c[name].setAttribute("aria-pressed", model.get("picked") === number);
        c[name].classList.toggle("mpkit-out", gone);
      });
      c.change.note.textContent = gone ? "no change" : "";
      c.poison.note.textContent = gone ? "taken out: base" : "";
    });
    settle();
  }
  ghost.addEventListener("input", draw);
  model.on("change", draw);
  draw();
  return () => model.off("change", draw);
}

export default { render: (given) => (given.model.get("kind") === "row" ? row : table)(given) };
