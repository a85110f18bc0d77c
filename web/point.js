// The point inspector: how one place of a map was searched for in the next frame. In: a place on the picture, the worker's
// 'point' messages. Out: what was compared, every surface up to both vectors, and settings to try.

import { $, element, paint } from './dom.js';
import { match } from './overlay.js';

const SURFACES = ['correlation', 'soft', 'gaussian', 'masked', 'kernel'];
const CELL = 8; // pixels of a surface's cell: enough to outline one

export class Point {
  #clip = null;
  #maps = null;
  #grid = null;       // of the last maps
  #frame = 0;
  #place = null;      // {x, y} in cells
  #settings = {};     // the clip's
  #tried = {};        // those on the sliders that are not
  #waiting = false;   // for an answer; one question at a time
  #again = false;     // something changed since it was asked
  #ask;
  #onChange;

  // ask({stage, pair, x, y, sigma, temperature, patch}) puts a question to the worker, or says that it cannot now;
  // keep({sigma, temperature, patch}) makes the tried settings the clip's; onChange() follows the panel's opening and closing.
  constructor({ ask, keep, onChange }) {
    this.#ask = ask;
    this.#onChange = onChange;
    $('stack').addEventListener('click', (event) => this.#choose(this.#at(event), true));
    $('stack').addEventListener('pointermove', (event) => this.#read(this.#at(event)));
    $('stack').addEventListener('pointerleave', () => this.#read(null));
    $('inspect').addEventListener('click', () => (this.#place ? this.close() : this.#choose(this.#middle(), true)));
    $('point-close').addEventListener('click', () => this.close());
    $('marker').addEventListener('keydown', (event) => this.#key(event));
    for (const input of $('try').querySelectorAll('input')) {
      input.addEventListener('input', () => {
        Object.assign(this.#tried, read(input));
        this.#label();
        this.#question();
      });
      input.addEventListener('change', () => keep(read(input)));
    }
  }

  get open() {
    return this.#place !== null;
  }

  // "x,y" in cells, as in the page's address.
  get place() {
    return this.#place ? `${this.#place.x},${this.#place.y}` : '';
  }

  choose(place) {
    const [x, y] = place.split(',').map(Number);
    const { width, height } = this.#maps.grid;
    if (Number.isInteger(x) && Number.isInteger(y) && x >= 0 && y >= 0 && x < width && y < height) this.#choose({ x, y });
  }

  // Where this frame moves most, surely, and as what is beside it does.
  chooseFastest() {
    const { grid: { width, height } } = this.#maps;
    const sure = ({ x, y }) => {
      const at = this.#values({ x, y });
      if (!at) return 0;
      const beside = [[x - 1, y], [x + 1, y], [x, y - 1], [x, y + 1]].map(([x, y]) => this.#values({
        x: Math.min(Math.max(x, 0), width - 1), y: Math.min(Math.max(y, 0), height - 1),
      }));
      const apart = beside.reduce((sum, { dx, dy }) => sum + Math.hypot(dx - at.dx, dy - at.dy), 0);
      return Math.hypot(at.dx, at.dy) * at.confidence - apart;
    };
    const places = Array.from({ length: width * height }, (_, i) => ({ x: i % width, y: Math.floor(i / width) }));
    this.#choose(places.reduce((best, place) => (sure(place) > sure(best) ? place : best)));
  }

  setClip(clip) {
    this.#clip = clip;
    this.#maps = null;
    this.#show();
  }

  // Maps of another stage have another grid: the place stays where it is on the picture.
  setMaps(maps) {
    const [from, to] = [this.#grid ?? maps.grid, maps.grid];
    const move = (at, from, to) => Math.min(Math.floor(((at + 0.5) / from) * to), to - 1);
    if (this.#place) this.#place = { x: move(this.#place.x, from.width, to.width), y: move(this.#place.y, from.height, to.height) };
    this.#grid = to;
    this.#maps = maps;
    this.#tried = {};
    this.#show();
  }

  setFrame(frame) {
    this.#frame = frame;
    this.#show();
  }

  setSettings(settings) {
    this.#settings = settings;
    this.#tried = {};
    $('try-sigma').value = settings.sigma;
    $('try-temperature').value = Math.log10(settings.temperature);
    $('try-patch').value = settings.patch;
    this.#label();
  }

  // The worker's answer, or that there will be none.
  answer(message) {
    this.#waiting = false;
    if (this.#again) this.#question();
    else if (message && this.#place) this.#tell(message);
  }

  fail(message) {
    this.#waiting = false;
    $('point-title').textContent = message;
    $('point-body').hidden = true;
  }

  close() {
    const focused = $('point').contains(document.activeElement) || document.activeElement === $('marker');
    this.#place = null;
    this.#show();
    if (focused) $('inspect').focus();
  }

  #middle() {
    const { width, height } = this.#maps.grid;
    return { x: Math.floor(width / 2), y: Math.floor(height / 2) };
  }

  // The cell under the pointer.
  #at({ clientX, clientY }) {
    if (!this.#maps) return null;
    const { left, top, width, height } = $('stack').getBoundingClientRect();
    const cell = (part, cells) => Math.min(Math.max(Math.floor(part * cells), 0), cells - 1);
    const { grid } = this.#maps;
    return { x: cell((clientX - left) / width, grid.width), y: cell((clientY - top) / height, grid.height) };
  }

  #values(place) {
    return this.#frame < this.#maps.pairs ? match(this.#maps, this.#frame, place) : null;
  }

  #read(place) {
    const values = place && this.#values(place);
    $('readout').hidden = !values;
    if (values) $('readout').textContent = `${vector(values)} cells · confidence ${values.confidence.toFixed(2)}`;
  }

  #choose(place, focus = false) {
    if (!place) return;
    this.#place = place;
    this.#show();
    if (focus) $('marker').focus({ preventScroll: true });
  }

  #key(event) {
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    if (event.key === 'Escape') this.close();
    else if (dx || dy) {
      const { width, height } = this.#maps.grid;
      const within = (at, length) => Math.min(Math.max(at, 0), length - 1);
      this.#choose({ x: within(this.#place.x + dx, width), y: within(this.#place.y + dy, height) });
    } else return;
    event.preventDefault();
  }

  #show() {
    const shown = Boolean(this.#place && this.#maps);
    $('inspect').disabled = !this.#maps;
    $('inspect').setAttribute('aria-expanded', String(shown));
    $('marker').hidden = !shown;
    this.#onChange();
    const values = shown && this.#values(this.#place);
    $('arrow').toggleAttribute('hidden', !values);
    if (!shown) return;
    const { grid } = this.#maps;
    const { x, y } = this.#place;
    const marker = $('marker').style;
    marker.setProperty('--x', x / grid.width);
    marker.setProperty('--y', y / grid.height);
    marker.setProperty('--width', 1 / grid.width);
    marker.setProperty('--height', 1 / grid.height);
    const place = `Point ${x + 1}, ${y + 1} of ${grid.width} × ${grid.height}`;
    const moves = values ? `moves ${vector(values)} cells, confidence ${values.confidence.toFixed(2)}` : 'there is no next frame';
    $('marker').setAttribute('aria-label', `${place}: ${moves}`);
    if (!values) {
      $('point-title').textContent = `${place}: the last frame has no next one`;
      $('point-body').hidden = true;
      return;
    }
    $('point-title').textContent = `${place} of ${this.#maps.stage}, frame ${this.#frame + 1} to ${this.#frame + 2}`;
    $('arrow').setAttribute('viewBox', `0 0 ${grid.width} ${grid.height}`);
    const [from, to] = [[x + 0.5, y + 0.5], [x + 0.5 + values.dx, y + 0.5 + values.dy]];
    $('arrow').querySelector('path').setAttribute('d', `M${from} L${to}`);
    this.#question();
  }

  #label() {
    const { sigma, temperature, patch } = { ...this.#settings, ...this.#tried };
    $('try-sigma-value').textContent = `${sigma} cells`;
    $('try-temperature-value').textContent = temperature.toPrecision(2);
    $('try-patch-value').textContent = `${patch} × ${patch}`;
  }

  #question() {
    if (!this.#place || !this.#maps || this.#frame >= this.#maps.pairs) return;
    this.#again = this.#waiting;
    if (this.#waiting) return;
    this.#waiting = this.#ask({ stage: this.#maps.stage, pair: this.#frame, ...this.#place, ...this.#tried });
  }

  #tell(message) {
    const { x, y, pair, best, confidence, settings: { patch, estimator } } = message;
    $('point-body').hidden = false;
    this.#cut('point-now', pair, { x, y }, patch, { dx: 0, dy: 0 });
    this.#cut('point-next', pair + 1, { x, y }, patch, best);
    for (const name of SURFACES) {
      const { picture, range } = message[name].surface ?? message[name];
      const canvas = this.#window(`point-${name}`, patch, CELL, best);
      const context = canvas.getContext('2d');
      context.imageSmoothingEnabled = false;
      context.globalCompositeOperation = 'destination-over'; // beneath the outline
      context.drawImage(paint(document.createElement('canvas'), picture), 0, 0, canvas.width, canvas.height);
      const [low, high] = range.map((end) => end.toFixed(3));
      canvas.title = `${low} to ${high}`;
      canvas.setAttribute('aria-label', `${patch} × ${patch} cells, from ${low} to ${high}`);
    }
    const row = (name, value, used) => element('tr', { className: used ? 'current' : '' },
      element('th', { scope: 'row', textContent: name }), element('td', { textContent: vector(value) }));
    $('point-vectors').tBodies[0].replaceChildren(
      row(`best match, ${confidence.toFixed(3)}`, best),
      row('soft-argmax', message.soft.displacement, estimator === 'soft'),
      row('kernel-soft-argmax', message.kernel.displacement, estimator === 'kernel'),
    );
  }

  // The window around a place on a frame.
  #cut(id, frame, { x, y }, patch, outlined) {
    const source = paint(document.createElement('canvas'), this.#clip.frames[frame]);
    const { width, height } = this.#maps.grid;
    const [across, down] = [source.width / width, source.height / height];
    const canvas = this.#window(id, patch, Math.max(Math.round(across), CELL), outlined);
    const from = { x: (x - (patch - 1) / 2) * across, y: (y - (patch - 1) / 2) * down };
    const context = canvas.getContext('2d');
    context.globalCompositeOperation = 'destination-over';
    context.drawImage(source, from.x, from.y, patch * across, patch * down, 0, 0, canvas.width, canvas.height);
  }

  // An empty window with one of its cells outlined, so many pixels each.
  #window(id, patch, cell, { dx, dy }) {
    const canvas = $(id);
    canvas.width = canvas.height = patch * cell;
    const context = canvas.getContext('2d');
    const line = canvas.width / 60;
    const [x, y] = [dx, dy].map((d) => ((patch - 1) / 2 + d) * cell);
    for (const [colour, grow] of [['#000', 0], ['#fff', line]]) {
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.strokeRect(x - grow, y - grow, cell + 2 * grow, cell + 2 * grow);
    }
    return canvas;
  }
}

// What a slider stands for: {sigma: 5}. The temperature's is its power of ten.
function read({ id, valueAsNumber: value }) {
  const name = id.replace('try-', '');
  return { [name]: name === 'temperature' ? Number((10 ** value).toPrecision(2)) : value };
}

const signed = (value) => (Math.abs(value) < 0.005 ? '0.00' : `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(2)}`);
const vector = ({ dx, dy }) => `(${signed(dx)}, ${signed(dy)}), ${Math.hypot(dx, dy).toFixed(2)} long`;
