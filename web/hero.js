// The large picture: a frame with the displacement map over it, and another map beside that behind a wipe. In: the clip's pictures. Out: which frame is shown.

import { apart } from './beside.js';
import { $, paint, seconds } from './dom.js';
import { overlay } from './overlay.js';

const LEAST_MS = 40; // faster than that nobody sees frames

export class Hero {
  #clip = null;
  #maps = null;
  #beside = null;
  #seen = null;
  #playing = 0;
  #onFrame;
  frame = 0;

  constructor(onFrame) {
    this.#onFrame = onFrame;
    $('scrubber').addEventListener('input', () => this.show(Number($('scrubber').value)));
    $('previous').addEventListener('click', () => this.step(-1));
    $('next').addEventListener('click', () => this.step(1));
    $('play').addEventListener('click', () => (this.#playing ? this.pause() : this.play()));
    $('opacity').addEventListener('input', () => this.fade());
    $('view').addEventListener('change', () => this.show(this.frame));
    for (const id of ['floor', 'sure']) $(id).addEventListener('input', () => this.show(this.frame));
  }

  // What lies over the frame, and how much of it.
  get look() {
    return { kind: $('view').value, floor: $('floor').valueAsNumber, sure: $('sure').valueAsNumber };
  }

  setClip(clip, frame = 0) {
    this.pause();
    this.#clip = clip;
    this.#maps = this.#beside = this.#seen = null;
    const { crop } = clip.source;
    document.documentElement.style.setProperty('--aspect', crop.width / crop.height);
    $('clip-name').textContent = clip.name;
    $('approximate').hidden = !clip.approximate;
    $('scrubber').max = clip.frames.length - 1;
    this.show(frame);
  }

  setMaps(maps) {
    this.#maps = maps;
    this.show(this.frame);
  }

  // Where the action was seen, {pictures}.
  setSeen(seen) {
    this.#seen = seen;
    $('view').querySelector('[value=seen]').disabled = !seen;
    if ($('view').value !== 'seen') return;
    if (!seen) $('view').value = 'colours';
    this.show(this.frame);
  }

  setBeside(beside) {
    this.#beside = beside;
    if (this.#clip) this.show(this.frame);
  }

  show(frame) {
    const { frames, times } = this.#clip;
    this.frame = Math.min(Math.max(frame, 0), frames.length - 1);
    paint($('frame'), frames[this.frame]);
    const { look } = this;
    $('floor-value').textContent = `${look.floor.toFixed(2)} cells`;
    $('sure-value').textContent = look.sure.toFixed(2);
    const whole = ['difference', 'seen'].includes(look.kind);
    const drawn = whole ? { difference: this.#beside, seen: this.#seen }[look.kind] : this.#maps;
    const map = overlay($('overlay'), drawn, this.frame, look);
    $('overlay').hidden = !map;
    const wiped = !whole && map && overlay($('beside-map'), this.#beside, this.frame, look);
    $('beside-map').hidden = $('wipe').hidden = !wiped;
    $('stack').classList.toggle('wiped', wiped);
    if (this.#beside) $('beside-text').textContent = map ? apart(this.#beside, this.frame) : '';
    const position = `frame ${this.frame + 1} of ${frames.length}, at ${seconds(times[this.frame])}`;
    $('frame').setAttribute('aria-label', position);
    if (map) {
      const pair = `from frame ${this.frame + 1} to ${this.frame + 2}`;
      $('overlay').setAttribute('aria-label', {
        confidence: `confidence ${pair}`,
        difference: `difference ${pair}`,
        seen: `where frame ${this.frame + 1} speaks for the action`,
      }[look.kind] ?? `displacement ${pair}: ${this.#maps.words[this.frame]}`);
      if (wiped) $('beside-map').setAttribute('aria-label', `compared with: ${this.#beside.words[this.frame]}`);
    }
    $('frame-text').textContent = `${this.frame + 1} / ${frames.length} · ${seconds(times[this.frame])}`;
    $('scrubber').value = this.frame;
    $('scrubber').setAttribute('aria-valuetext', position);
    this.#onFrame(this.frame, this.#maps);
  }

  step(by) {
    this.pause();
    this.show(this.frame + by);
  }

  // As fast as it was filmed.
  play() {
    const next = () => {
      this.show((this.frame + 1) % this.#clip.frames.length);
      this.#playing = setTimeout(next, stays(this.#clip.times, this.frame));
    };
    this.#playing = setTimeout(next, stays(this.#clip.times, this.frame));
    this.#label();
  }

  pause() {
    clearTimeout(this.#playing);
    this.#playing = 0;
    this.#label();
  }

  #label() {
    $('play').setAttribute('aria-pressed', String(this.#playing !== 0));
    $('play').setAttribute('aria-label', this.#playing ? 'Pause' : 'Play');
  }

  fade() {
    for (const id of ['overlay', 'beside-map']) $(id).style.opacity = Number($('opacity').value) / 100;
    $('opacity').setAttribute('aria-valuetext', `${$('opacity').value} %`);
  }
}

// How long a frame stays, in milliseconds: until the next one, the last as long as the one before it.
export function stays(times, frame) {
  const from = Math.max(Math.min(frame, times.length - 2), 0);
  return Math.max(1000 * ((times[from + 1] ?? 0) - times[from]), LEAST_MS);
}
