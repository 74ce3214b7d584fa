// Points over a picture, to be dragged with a pointer or moved with the arrow keys.
//
// The hand is followed at once, here; the kernel is told, one message at a time, and its answer
// counts. Nothing that was shown is ever sent back.

const FAR = 5; // steps, with Shift
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

function make(kind, look, parent) {
  const element = document.createElement(kind);
  element.className = look;
  parent.append(element);
  return element;
}

function render({ model, el }) {
  el.classList.add("mpkit-handles");
  el.setAttribute("data-lm-suppress-shortcuts", "true"); // or arrows would leave the cell
  const layer = make("div", "mpkit-handles-layer", el);
  const box = make("div", "mpkit-handles-box", layer);
  const hint = make("span", "mpkit-handles-hint", el);
  hint.id = `mpkit-hint-${Math.random().toString(36).slice(2)}`;
  const view = hint.id;
  let points = [];
  let mine = null; // {which, place}: where the hand has put one that the kernel has not answered
  let held = false;
  let asked = 0;
  let heard = 0;
  let next = null;

  // ── where everything is ───────────────────────────────────────────────────────────────────

  const share = ([x, y]) => {
    const [left, right, bottom, top] = model.get("limits");
    return [(x - left) / (right - left), (top - y) / (top - bottom)];
  };
  const place = (which) => (mine?.which === which ? mine.place : model.get("places")[which]);

  function hold(which, [x, y]) {
    const [x0, y0, x1, y1] = model.get("boxes")[which];
    return [Math.min(Math.max(x, x0), x1), Math.min(Math.max(y, y0), y1)];
  }

  function draw() {
    points.forEach((point, which) => {
      const [x, y] = place(which);
      const [across, down] = share([x, y]);
      point.style.left = `${100 * across}%`;
      point.style.top = `${100 * down}%`;
      const name = `${model.get("names")[which]}: x ${x.toFixed(2)}, y ${y.toFixed(2)}`;
      if (point.getAttribute("aria-label") !== name) point.setAttribute("aria-label", name);
    });
    const active = points.indexOf(layer.getRootNode().activeElement);
    box.hidden = active < 0;
    if (active < 0) return;
    const [x0, y0, x1, y1] = model.get("boxes")[active];
    const [a, b] = [share([x0, y1]), share([x1, y0])];
    Object.assign(box.style, {
      left: `${100 * a[0]}%`, top: `${100 * a[1]}%`,
      width: `${100 * (b[0] - a[0])}%`, height: `${100 * (b[1] - a[1])}%`,
    });
  }

  function fit() {
    const picture = el.parentElement?.querySelector("img");
    const there = picture?.getBoundingClientRect();
    if (!there?.width || !there.height) return; // a new one, not yet decoded
    const here = el.getBoundingClientRect();
    const [left, top, width, height] = model.get("frame");
    Object.assign(layer.style, {
      left: `${there.left - here.left + left * there.width}px`,
      top: `${there.top - here.top + top * there.height}px`,
      width: `${width * there.width}px`, height: `${height * there.height}px`,
    });
  }

  // ── the hand ──────────────────────────────────────────────────────────────────────────────

  function tell(message) {
    if (asked > heard) {
      next = message; // those before it are overtaken
      return;
    }
    next = null;
    model.send({ view, number: ++asked, ...message });
  }

  function move(which, wanted) {
    mine = { which, place: hold(which, wanted) };
    draw();
    tell({ ...mine, held });
  }

  function listen(point, which) {
    let off = [0, 0]; // from the pointer to the point's middle
    point.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      const at = point.getBoundingClientRect();
      off = [event.clientX - at.left - at.width / 2, event.clientY - at.top - at.height / 2];
      point.setPointerCapture(event.pointerId);
      held = true;
      point.focus({ preventScroll: true });
      event.preventDefault();
      tell({ which, held });
      point.classList.add("held");
    });
    point.addEventListener("pointermove", (event) => {
      if (!held) return;
      const area = layer.getBoundingClientRect();
      const [left, right, bottom, top] = model.get("limits");
      const across = (event.clientX - off[0] - area.left) / area.width;
      const down = (event.clientY - off[1] - area.top) / area.height;
      move(which, [left + across * (right - left), top - down * (top - bottom)]);
    });
    const release = () => {
      if (!held) return;
      held = false;
      point.classList.remove("held");
      tell(mine?.which === which ? mine : { which });
      settle();
    };
    point.addEventListener("pointerup", release);
    point.addEventListener("pointercancel", release);
    point.addEventListener("keydown", (event) => {
      const way = ARROWS[event.key];
      if (!way || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      const far = model.get("step") * (event.shiftKey ? FAR : 1);
      const [x, y] = place(which);
      move(which, [x + far * way[0], y + far * way[1]]);
    });
    point.addEventListener("focus", () => {
      draw();
      if (!held) tell({ which });
    });
    point.addEventListener("blur", draw);
  }

  function settle() {
    if (!held && !next && heard === asked) mine = null;
    draw();
  }

  model.on("msg:custom", (message) => {
    if (message.view !== view) return;
    heard = message.heard;
    if (next) tell(next);
    else settle();
  });

  // ── as the kernel changes it ──────────────────────────────────────────────────────────────

  function lay() {
    hint.textContent = model.get("hint");
    points.forEach((point) => point.remove());
    points = model.get("names").map((name, which) => {
      const point = make("button", "mpkit-handle", layer);
      point.type = "button";
      point.textContent = which + 1;
      point.setAttribute("aria-describedby", hint.id);
      listen(point, which);
      return point;
    });
    draw();
  }

  lay();
  model.on("change:names", lay);
  model.on("change:places change:boxes change:limits", draw);
  model.on("change:frame", fit);
  let watched = null;
  const resized = new ResizeObserver(() => {
    fit();
    if (watched || !el.parentElement) return;
    watched = el.parentElement;
    watched.addEventListener("load", fit, true); // the picture is another one with every frame
  });
  resized.observe(el);
  return () => {
    resized.disconnect();
    watched?.removeEventListener("load", fit, true);
    model.off("change:names", lay);
  };
}

export default { render };
