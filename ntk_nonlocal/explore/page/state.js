// What is shown, and how it goes into a link and comes back out of one. Nothing from a link is used unchecked.

export const MOST_SHOWN = 4;
export const MOST_PINS = 6;

export function initial(filters, best) {
  const names = filters.map((filter) => filter.name);
  const first = filters[0];
  return {
    kernels: names.slice(0, MOST_SHOWN),
    step: best,
    own: true, // every panel at the step where its own filter should stop
    pixel: [Math.round(0.44 * first.height), Math.round(0.66 * first.width)],
    pins: [],
    scale: "log",
    greys: false,
    swipe: 0.5,
    left: "noisy",
    right: "estimate",
    kernel: names.includes("autoencoder-ntk-image") ? "autoencoder-ntk-image" : names[0],
    vector: 5,
  };
}

export function toLink(state) {
  const { kernels, step, own, pixel, pins, scale, greys, swipe, left, right, kernel, vector } = state;
  const entries = {
    k: kernels.join(","), t: step, o: Number(own), p: pixel.join("."), pins: pins.map((pin) => pin.join(".")).join(","), s: scale,
    g: Number(greys),
    w: swipe.toFixed(3), l: left, r: right, f: kernel, e: vector,
  };
  return `#${new URLSearchParams(entries)}`;
}

export function fromLink(link, before, filters) {
  const found = new URLSearchParams(link.replace(/^#/, ""));
  const state = { ...before };
  const names = filters.map((filter) => filter.name);
  const { height, width } = filters[0];
  const place = (text) => {
    const parts = text.split(".").map(Number);
    const inside = parts.length === 2 && parts.every(Number.isInteger) && parts[0] >= 0 && parts[1] >= 0;
    return inside && parts[0] < height && parts[1] < width ? parts : null;
  };
  const number = (key, least, most) => {
    const value = found.has(key) && found.get(key) !== "" ? Number(found.get(key)) : NaN;
    return value >= least && value <= most ? value : null;
  };
  const choice = (key, known) => (known.includes(found.get(key)) ? found.get(key) : null);
  const kernels = (found.get("k") ?? "").split(",").filter((name, i, all) => names.includes(name) && all.indexOf(name) === i);
  if (kernels.length) state.kernels = kernels.slice(0, MOST_SHOWN);
  state.step = Math.round(number("t", 1, 1e6) ?? state.step);
  state.own = found.has("o") ? found.get("o") === "1" : !found.has("t") && state.own;
  state.pixel = place(found.get("p") ?? "") ?? state.pixel;
  if (found.has("pins")) state.pins = found.get("pins").split(",").map(place).filter(Boolean).slice(0, MOST_PINS);
  state.scale = choice("s", ["linear", "log"]) ?? state.scale;
  if (found.has("g")) state.greys = found.get("g") === "1";
  state.swipe = number("w", 0, 1) ?? state.swipe;
  state.left = choice("l", PICTURES) ?? state.left;
  state.right = choice("r", PICTURES) ?? state.right;
  state.kernel = choice("f", names) ?? state.kernel;
  state.vector = Math.round(number("e", 0, 1e5) ?? state.vector);
  return state;
}

export const PICTURES = ["noisy", "estimate", "residual", "clean"];
