import { unpack, psnr } from "./numbers.js";
import { Filter } from "./filters.js";
import { barTicks, dark, drawBar, drawCurves, drawPicture, drawSigned, drawWeights, limitOf, useGreys } from "./drawing.js";
import { MOST_PINS, MOST_SHOWN, PICTURES, fromLink, initial, toLink } from "./state.js";

// Okabe and Ito's colours, each with a dash of its own.
const STYLES = [
  ["#0072B2", ""], ["#D55E00", "7 4"], ["#009E73", "2 3"], ["#CC79A7", "9 3 2 3"], ["#E69F00", "4 2"], ["#56B4E9", "12 3"],
].map(([colour, dash]) => ({ colour, dash }));
const TEXTS = { noisy: "noisy picture", estimate: "estimate", residual: "what was removed", clean: "clean picture" };

const find = (id) => document.getElementById(id);
const percent = (value) => `${value >= 0.0995 ? Math.round(100 * value) : value < 1e-6 ? 0 : +(100 * value).toPrecision(2)} %`;
const counted = (step) => (step === 1 ? "1 step" : `${step.toLocaleString("en")} steps`);
const endless = (filter) => filter.bestStep === filter.knots[filter.knots.length - 1]; // no best step before the last

// An element with a class, a text and children. Texts are never markup.
function make(name, { className = "", text = null, ...rest } = {}, ...children) {
  const made = Object.assign(document.createElement(name), rest);
  if (className) made.className = className;
  if (text !== null) made.textContent = text;
  made.append(...children);
  return made;
}

class Page {
  constructor(data) {
    this.data = data;
    this.filters = data.filters.map((stored) => new Filter(stored));
    this.byName = Object.fromEntries(this.filters.map((filter) => [filter.name, filter]));
    this.styles = Object.fromEntries(this.filters.map((filter, i) => [filter.name, STYLES[i % STYLES.length]]));
    this.noisy = Float64Array.from(data.noisy, (value) => value / data.levels);
    this.clean = data.clean && Float64Array.from(data.clean, (value) => value / data.levels);
    const { pixels, channels } = this.filters[0];
    const picture = this.clean ?? this.noisy;
    this.grey = Float64Array.from({ length: pixels }, (_, p) => {
      let sum = 0;
      for (let i = 0; i < channels; i++) sum += picture[p * channels + i] / channels;
      return Math.min(Math.max(sum, 0), 1);
    });
    const chosen = this.filters.find((filter) => filter.name.includes("image")) ?? this.filters[0];
    this.state = fromLink(location.hash, initial(this.filters, chosen.bestStep), this.filters);
    this.waiting = 0;
    this.drawn = {};
    this.build();
    this.listen();
    this.draw();
  }

  // What every later call gives back at once.
  api() {
    const filter = (name) => {
      if (!(name in this.byName)) throw new RangeError(`no kernel ${name}; there are ${Object.keys(this.byName).join(", ")}`);
      return this.byName[name];
    };
    return {
      ready: true,
      kernels: () => this.filters.map((one) => one.name),
      weights: (name, row, column, step) => Array.from(filter(name).weights(row, column, step)),
      estimate: (name, step) => Array.from(filter(name).estimate(step)),
      error: (name, row, column, step) => filter(name).error(row, column, step),
      psnr: (name, step) => (this.clean ? psnr(filter(name).estimate(step), this.clean) : null),
      state: () => structuredClone(this.state),
      set: (changes) => {
        const { height, width } = this.filters[0];
        const inside = ([row, column]) => [Math.min(Math.max(row, 0), height - 1), Math.min(Math.max(column, 0), width - 1)];
        Object.assign(this.state, changes);
        Object.assign(this.state, { pixel: inside(this.state.pixel), pins: this.state.pins.map(inside) });
        this.draw();
      },
      link: () => toLink(this.state),
    };
  }

  change(changes) {
    Object.assign(this.state, changes);
    if (!this.waiting) this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.draw(); });
  }

  // One step for all.
  step(step) {
    this.change({ step, own: false });
  }

  stepOf(name) {
    return this.state.own ? this.byName[name].bestStep : this.state.step;
  }

  build() {
    find("title").textContent = this.data.title;
    const chooser = find("chooser");
    for (const { name } of this.filters) {
      const box = make("input", { type: "checkbox", value: name });
      box.addEventListener("change", () => this.toggle(name, box.checked));
      chooser.append(make("label", { title: this.data.about[name] }, box, this.sample(name), name));
    }
    const pictures = PICTURES.filter((name) => name !== "clean" || this.clean);
    for (const id of ["left", "right"]) find(id).append(...pictures.map((name) => new Option(TEXTS[name], name)));
    for (const id of ["kernel", "vector-kernel"]) find(id).append(...this.filters.map(({ name }) => new Option(name, name)));
    const { height, width } = this.filters[0];
    document.documentElement.style.setProperty("--shape", `${width} / ${height}`);
    find("psnr-box").hidden = !this.clean;
    find("under").textContent = this.clean ? "clean" : "noisy";
    this.cards = [];
  }

  sample(name) {
    const { colour, dash } = this.styles[name];
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 28 6");
    svg.setAttribute("class", "sample");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    for (const [key, value] of Object.entries({ x1: 0, x2: 28, y1: 3, y2: 3, stroke: colour, "stroke-dasharray": dash })) line.setAttribute(key, value);
    svg.append(line);
    return svg;
  }

  toggle(name, wanted) {
    const others = this.state.kernels.filter((one) => one !== name);
    const order = (names) => this.filters.map((one) => one.name).filter((one) => names.includes(one));
    const kernels = wanted ? order([...others.slice(-MOST_SHOWN + 1), name]) : others;
    this.change({ kernels: kernels.length ? kernels : [name] });
  }

  listen() {
    find("step").addEventListener("input", (event) => this.step(Math.round(10 ** (Number(event.target.value) / 1000))));
    find("stop").addEventListener("click", () => this.change({ own: true }));
    find("scale").addEventListener("click", () => this.change({ scale: this.state.scale === "log" ? "linear" : "log" }));
    find("greys").addEventListener("click", () => this.change({ greys: !this.state.greys }));
    find("pin").addEventListener("click", () => this.pin());
    find("unpin").addEventListener("click", () => this.change({ pins: [] }));
    find("copy").addEventListener("click", () => this.copy());
    for (const id of ["left", "right", "kernel"]) find(id).addEventListener("change", (event) => this.change({ [id]: event.target.value }));
    find("vector-kernel").addEventListener("change", (event) => this.change({ kernel: event.target.value, vector: 0 }));
    find("vector").addEventListener("input", (event) => this.change({ vector: Number(event.target.value) }));
    find("swipe").addEventListener("input", (event) => this.change({ swipe: Number(event.target.value) / 1000 }));
    this.point(find("picture"), (x) => this.change({ swipe: Math.min(Math.max(x, 0), 1) }), true);
    for (const id of ["psnr", "risk"]) this.point(find(id), (x) => this.axes && this.step(Math.round(this.axes.stepAt(x))), true);
    document.addEventListener("keydown", (event) => this.key(event));
    addEventListener("hashchange", () => this.change(fromLink(location.hash, this.state, this.filters)));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.change({}));
  }

  // Calls act(x, y), shares of the element, for a pointer above it; or only while it is pressed.
  point(element, act, pressed = false) {
    const where = (event) => {
      const box = element.getBoundingClientRect();
      act((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    };
    element.addEventListener("pointerdown", where);
    element.addEventListener("pointermove", (event) => (!pressed || event.buttons) && where(event));
  }

  at(filter, x, y) {
    const inside = (share, count) => Math.min(Math.max(Math.floor(share * count), 0), count - 1);
    return [inside(y, filter.height), inside(x, filter.width)];
  }

  pin() {
    const { pins, pixel } = this.state;
    const same = (pin) => pin[0] === pixel[0] && pin[1] === pixel[1];
    this.change({ pins: pins.some(same) ? pins.filter((pin) => !same(pin)) : [...pins, pixel].slice(-MOST_PINS) });
  }

  async copy() {
    const link = location.href.split("#")[0] + toLink(this.state);
    const done = await navigator.clipboard?.writeText(link).then(() => true, () => false);
    find("copy").textContent = done ? "Copied" : "It is in the address bar";
    setTimeout(() => (find("copy").textContent = "Copy link"), 2000);
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input, select, textarea")) return;
    const { pixel, step, vector, kernel } = this.state;
    const { height, width } = this.filters[0];
    const far = event.shiftKey ? 8 : 1;
    const move = { ArrowUp: [-far, 0], ArrowDown: [far, 0], ArrowLeft: [0, -far], ArrowRight: [0, far] }[event.key];
    const within = (value, count) => Math.min(Math.max(value, 0), count - 1);
    if (move) this.change({ pixel: [within(pixel[0] + move[0], height), within(pixel[1] + move[1], width)] });
    else if (event.key === "+" || event.key === "=") this.step(Math.min(1e6, Math.max(step + 1, Math.round(step * 1.25))));
    else if (event.key === "-") this.step(Math.max(1, Math.min(step - 1, Math.round(step / 1.25))));
    else if (event.key === "p") this.pin();
    else if (event.key === "x") this.change({ pins: [] });
    else if (event.key === "l") this.change({ scale: this.state.scale === "log" ? "linear" : "log" });
    else if (event.key === "g") this.change({ greys: !this.state.greys });
    else if (event.key === "[" || event.key === "]") this.change({ vector: within(vector + (event.key === "]" ? 1 : -1), this.byName[kernel].rank) });
    else return;
    event.preventDefault();
  }

  draw() {
    const { state } = this;
    state.vector = Math.min(state.vector, this.byName[state.kernel].rank - 1);
    if (!this.clean) for (const side of ["left", "right"]) if (state[side] === "clean") state[side] = "noisy";
    const { kernels, step, own, kernel, left, right, swipe, vector, greys } = state;
    const night = dark();
    useGreys(greys);
    const colours = greys ? ["dark", "light"] : night ? ["orange", "blue"] : ["red", "blue"];
    for (const [i, name] of ["plus", "minus"].entries()) document.querySelector(`.${name}`).textContent = colours[i];
    document.body.classList.toggle("greys", greys);
    document.body.classList.toggle("linear", state.scale === "linear");
    this.drawControls();
    this.drawCards();
    this.when("pictures", [kernel, step, own, left, right, swipe], () => this.drawPictures());
    this.when("charts", [kernels, step, own], () => this.drawCharts());
    this.when("vector", [kernel, vector, step, own, night, greys], () => this.drawVector());
    try {
      history.replaceState(null, "", toLink(state));
    } catch {
      // a frame without an address of its own, as in notebooks
    }
  }

  // Draws a part of the page where what it shows has changed.
  when(part, shown, act) {
    const key = JSON.stringify(shown);
    if (this.drawn[part] === key) return;
    this.drawn[part] = key;
    act();
  }

  drawControls() {
    const { state } = this;
    const slider = find("step");
    slider.value = Math.round(1000 * Math.log10(state.step));
    const shown = state.own ? "each panel where it should stop" : state.step.toLocaleString("en");
    slider.setAttribute("aria-valuetext", shown);
    find("steps").textContent = shown;
    find("stop").textContent = "Each where it should stop";
    find("stop").setAttribute("aria-pressed", state.own);
    find("scale").textContent = state.scale === "log" ? "Scale: logarithmic" : "Scale: linear";
    find("greys").setAttribute("aria-pressed", state.greys);
    find("unpin").hidden = !state.pins.length;
    for (const box of find("chooser").querySelectorAll("input")) box.checked = state.kernels.includes(box.value);
    for (const id of ["left", "right", "kernel"]) find(id).value = state[id];
    find("vector-kernel").value = state.kernel;
    find("swipe").value = Math.round(1000 * state.swipe);
  }

  card(name) {
    const filter = this.byName[name];
    const canvas = make("canvas", { className: "weights", tabIndex: 0 });
    canvas.setAttribute("role", "img");
    const marks = make("div", { className: "marks" });
    const frame = make("div", { className: "frame" }, canvas, marks);
    const quality = make("p", { className: "quality" });
    const error = make("p", { className: "error" });
    const heading = make("h3", {}, this.sample(name), name);
    const about = make("p", { className: "about", text: this.data.about[name] });
    const pins = make("div", { className: "pins" });
    this.point(canvas, (x, y) => this.change({ pixel: this.at(filter, x, y) }));
    canvas.addEventListener("dblclick", () => this.pin());
    return { name, filter, canvas, marks, quality, error, pins, root: make("article", { className: "card" }, heading, frame, about, quality, error, pins) };
  }

  drawCards() {
    const { kernels, pixel, pins, scale } = this.state;
    if (this.cards.map((card) => card.name).join() !== kernels.join()) {
      this.cards = kernels.map((name) => this.card(name));
      find("cards").replaceChildren(...this.cards.map((card) => card.root));
    }
    // The row under the pointer last, so that it is the one that is kept.
    const rows = this.cards.map(({ filter, name }) => [...pins, pixel].map((place) => filter.weights(...place, this.stepOf(name))));
    const limit = limitOf(rows.map((own) => own[own.length - 1]));
    this.cards.forEach((card, i) => {
      const { filter } = card;
      const step = this.stepOf(card.name);
      drawWeights(card.canvas, rows[i][pins.length], filter, this.grey, limit, scale);
      const own = rows[i][pins.length][pixel[0] * filter.width + pixel[1]];
      const steps = counted(step) + (this.state.own && endless(filter) ? " (no best step before the last)" : "");
      if (card.step !== step) Object.assign(card, { step, text: this.clean ? `PSNR ${psnr(filter.estimate(step), this.clean).toFixed(2)} dB` : "" });
      card.quality.textContent = [steps, card.text, `its own weight ${own.toPrecision(2)}`].filter(Boolean).join(" · ");
      const error = filter.error(...pixel, step);
      const bound = Number.isFinite(error) ? `at most ${percent(error)}` : "not known";
      card.error.textContent = error > 1 ? `few of its patterns are stored: weights may be quite wrong (error ${bound} of the largest)` : `drawing error: at most ${percent(error)} of the largest weight`;
      card.error.classList.toggle("poor", error > 0.5);
      card.canvas.setAttribute("aria-label", `Weights of ${card.name} at row ${pixel[0]}, column ${pixel[1]} after ${step} steps`);
      const mark = ([row, column], text, name) => {
        const made = make("span", { className: name, text });
        made.style.left = `${(100 * (column + 0.5)) / filter.width}%`;
        made.style.top = `${(100 * (row + 0.5)) / filter.height}%`;
        return made;
      };
      card.marks.replaceChildren(...pins.map((pin, n) => mark(pin, n + 1, "pinned")), mark(pixel, "", "here"));
      card.pins.replaceChildren(...pins.map((pin, n) => {
        const small = make("canvas", { title: `row ${pin[0]}, column ${pin[1]}` });
        drawWeights(small, rows[i][n], filter, this.grey, limit, scale);
        small.addEventListener("click", () => this.change({ pixel: pin }));
        return make("figure", {}, small, make("figcaption", { text: n + 1 }));
      }));
    });
    this.when("bar", [dark(), this.state.greys], () => drawBar(find("bar")));
    find("ticks").replaceChildren(...barTicks(limit, scale).map(([at, text]) => {
      const made = make("span", { text });
      made.style.left = `${50 * (at + 1)}%`;
      return made;
    }));
    find("where").textContent = `row ${pixel[0]}, column ${pixel[1]}`;
  }

  drawPictures() {
    const { left, right, swipe, kernel } = this.state;
    const filter = this.byName[kernel];
    const step = this.stepOf(kernel);
    const estimate = filter.estimate(step);
    const residual = () => Float64Array.from(estimate, (value, i) => this.noisy[i] - value);
    for (const [id, kind] of [["left-canvas", left], ["right-canvas", right]]) {
      const values = { noisy: () => this.noisy, estimate: () => estimate, residual, clean: () => this.clean }[kind]();
      drawPicture(find(id), values, filter, kind === "residual" ? { offset: 0.5, gain: 1.5 } : {});
    }
    find("left-canvas").style.clipPath = `inset(0 ${100 - 100 * swipe}% 0 0)`;
    find("divider").style.left = `${100 * swipe}%`;
    const quality = this.clean ? `, PSNR ${psnr(estimate, this.clean).toFixed(2)} dB (noisy: ${this.data.noisy_psnr.toFixed(2)} dB)` : "";
    find("picture-text").textContent = `left: ${TEXTS[left]}; right: ${TEXTS[right]}${[left, right].some((kind) => kind === "estimate" || kind === "residual") ? ` — ${kernel} after ${counted(step)}${quality}` : ""}`;
  }

  drawCharts() {
    const { kernels, own } = this.state;
    const step = own ? null : this.state.step;
    const shown = this.filters.filter(({ name }) => kernels.includes(name));
    const curves = (values) => shown.map((filter) => ({
      values: values(filter), knots: filter.knots, style: this.styles[filter.name],
      mark: Array.from(filter.risk).indexOf(Math.min(...filter.risk)), hollow: endless(filter),
    }));
    find("key").replaceChildren(...shown.map(({ name }) => make("span", {}, this.sample(name), name)));
    if (this.clean) drawCurves(find("psnr"), curves((one) => one.psnr), { step, label: "steps", lines: [{ value: this.data.noisy_psnr, name: "noisy picture" }] });
    this.axes = drawCurves(find("risk"), curves((one) => Float64Array.from(one.risk, (value) => 255 * Math.sqrt(Math.max(value, 0)))), { step, label: "steps" });
  }

  drawVector() {
    const { kernel, vector } = this.state;
    const filter = this.byName[kernel];
    Object.assign(find("vector"), { max: filter.rank - 1, value: vector });
    drawSigned(find("vector-canvas"), filter.eigenvector(vector), filter);
    const gain = filter.prepare(this.stepOf(kernel)).gains[vector];
    find("vector-text").textContent = `pattern ${vector + 1} of ${filter.rank} stored (the picture has ${filter.pixels} in all): learned at ${percent(filter.x[vector])} of the speed of the first; ${percent(Math.max(gain, 0))} of it let through at this step`;
  }
}

async function start() {
  window.explorer = { ready: false };
  try {
    const data = await unpack(JSON.parse(find("data").textContent));
    const page = new Page(data);
    window.explorer = page.api();
    document.body.classList.add("ready");
  } catch (error) {
    find("status").textContent = `The page cannot be shown: ${error.message}. It needs a browser of 2023 or later.`;
    throw error;
  }
}

start();
