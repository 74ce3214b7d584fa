// Accessible names, words that are spoken, and the theme of one panel: see front.py.

const STILL = 800; // ms without a change, after which words are spoken
const LONGEST = 2000; // ms that words wait for a panel that does not stand still
const APART = 10000; // ms between two announcements of a run that goes on
const CONTROLS = "button, input, select, textarea, [role=slider]";
const WORDS = "[role=status], img.mpkit-figure";

const text = (node) => (node ? node.textContent.trim() : "");
const set = (node, name, value) => {
  if (value && node.getAttribute(name) !== value) node.setAttribute(name, value);
};

/** What the nearest label says: the control's own, or the one in its row. */
function label(part, panel) {
  for (let row = part.parentElement; row && row !== panel; row = row.parentElement) {
    const found = [...row.children].find((e) => e.matches(".widget-label") && text(e));
    if (found) return text(found);
  }
  return "";
}

function name(panel) {
  for (const sign of panel.querySelectorAll("button > i.fa")) set(sign, "aria-hidden", "true");
  for (const part of panel.querySelectorAll(CONTROLS)) {
    const tip = part.title || part.closest("[title]")?.title || "";
    if (part.matches(".mpkit-opener")) {
      set(part, "aria-expanded", String(part.classList.contains("mod-active")));
    } else if (part.matches(".widget-toggle-button")) {
      set(part, "aria-pressed", String(part.classList.contains("mod-active")));
    }
    if (part.matches(".jupyter-button")) {
      const row = label(part, panel);
      const said = text(part); // must be in the name, for those who speak to the browser
      const long = tip.includes(said) ? tip : [`${row}: ${said}`, tip].filter(Boolean).join(", ");
      set(part, "aria-label", (row || !said) && long);
    } else if (part.dataset.named || !part.hasAttribute("aria-label")) {
      part.dataset.named = "yes"; // others' names stay
      set(part, "aria-label", label(part, panel) || part.placeholder || tip);
    }
  }
}

/** Whether the ground that the panel stands on is dark, whoever painted it. */
function dark(panel) {
  for (let node = panel; node; node = node.parentElement) {
    const ground = getComputedStyle(node).backgroundColor;
    const [r, g, b, a = 1] = (ground.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
    const full = ground.startsWith("color") ? 1 : 255;
    if (a > 0.5) return 0.2126 * r + 0.7152 * g + 0.0722 * b < full / 2;
  }
  return false;
}

/** Speaks what has changed, once it stands still. */
function speaker(panel, region) {
  let heard = new Map(), last = -Infinity, timer = 0, since = 0, pressed = false;

  const now = () => {
    const found = new Map();
    for (const node of panel.querySelectorAll(WORDS)) {
      const said = node.alt ?? text(node);
      if (said && node.getClientRects().length) found.set(node, said);
    }
    return found;
  };
  // What goes on by itself may wait; what a hand has brought about may not: a word beside a
  // control, and the status when it begins otherwise (running, paused, done).
  const word = (node) => node.matches("span:not([aria-live=off])");
  const begins = (nodes) => [...nodes].map((node) => text(node.querySelector("b"))).join();
  const pressing = (found) =>
    begins(found.keys()) !== begins(heard.keys()) ||
    [...found.keys()].some((node) => word(node) && !heard.has(node));
  const speak = () => {
    [since, pressed] = [0, false];
    const found = now(), known = new Set(heard.values());
    const fresh = [...found].filter(([node, said]) => (word(node) ? !heard.has(node) : !known.has(said)));
    heard = found;
    if (!fresh.length) return;
    last = performance.now();
    region.textContent = fresh.map(([, said]) => said).join(" ");
  };
  heard = now();
  return () => {
    clearTimeout(timer);
    const time = performance.now(), press = pressing(now()), turn = press ? time : last + APART;
    if (!since || (press && !pressed)) since = time; // what it brings about comes after it
    pressed = press;
    const still = Math.max(time + STILL, turn), latest = Math.max(since + LONGEST, turn);
    timer = setTimeout(speak, Math.max(0, Math.min(still, latest) - time));
  };
}

/** Keeps the focus: a button that may not be pressed for now would lose it to the page's beginning.
 * Its row has it meanwhile, from where Tab goes on to the next button; a key does nothing there. */
function keeper(panel) {
  let mine = null, lent = null;
  panel.addEventListener("focusin", (e) => { if (e.target !== lent) [mine, lent] = [e.target, null]; });
  panel.addEventListener("focusout", (e) => { if (e.target === lent ? e.relatedTarget : !e.target.disabled) mine = null; });
  return () => {
    const at = document.activeElement;
    if (!mine?.isConnected || (at !== document.body && at !== lent)) return;
    lent = mine.disabled ? mine.parentElement : null;
    if (lent) lent.tabIndex = -1;
    (lent || mine).focus({ preventScroll: true });
  };
}

function start(model, panel, region) {
  set(panel, "role", "group");
  set(panel, "aria-label", model.get("title"));
  let named = null;
  const naming = () => {
    named ??= setTimeout(() => { named = null; name(panel); keep(); }, 100);
  };
  const themed = () => {
    const now = dark(panel);
    panel.classList.toggle("mpkit-dark", now);
    if (model.get("dark") === now) return;
    model.set("dark", now);
    model.save_changes();
  };
  const changed = speaker(panel, region), keep = keeper(panel);
  const inside = new MutationObserver((all) => {
    const seen = all.filter((m) => !region.contains(m.target));
    if (seen.some((m) => m.type === "childList" || m.target.matches("button"))) naming();
    if (seen.some((m) => m.type === "childList" && m.addedNodes.length)) changed();
  });
  inside.observe(panel, { subtree: true, childList: true, attributeFilter: ["class", "disabled"] });
  const theme = new MutationObserver(() => { themed(); setTimeout(themed, 500); });
  for (const root of [document.documentElement, document.body]) theme.observe(root, { attributes: true });
  name(panel);
  themed();
  return () => { inside.disconnect(); theme.disconnect(); };
}

function render({ model, el }) {
  const region = document.createElement("div");
  region.className = "mpkit-spoken";
  set(region, "role", "log");
  set(region, "aria-live", "polite");
  el.append(region);
  let stop = () => {}, frame = 0;
  const wait = () => {
    const panel = el.closest(".mpkit-lab");
    if (panel) stop = start(model, panel, region);
    else frame = requestAnimationFrame(wait);
  };
  wait();
  return () => { cancelAnimationFrame(frame); stop(); };
}

export default { render };
