// The large picture: a frame with the displacement map over it. In: the clip's pictures. Out: which frame is shown.

import { $, paint, seconds } from './dom.js';

const MS_PER_FRAME = 350;

export class Hero {
  #clip = null;
  #maps = null;
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
  }

  setClip(clip, frame = 0) {
    this.pause();
    this.#clip = clip;
    this.#maps = null;
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

  show(frame) {
    const { frames, times } = this.#clip;
    this.frame = Math.min(Math.max(frame, 0), frames.length - 1);
    paint($('frame'), frames[this.frame]);
    const map = this.#maps?.displacement[this.frame];
    $('overlay').hidden = !map;
    if (map) paint($('overlay'), map);
    const position = `frame ${this.frame + 1} of ${frames.length}, at ${seconds(times[this.frame])}`;
    $('frame').setAttribute('aria-label', position);
    $('overlay').setAttribute('aria-label', `displacement from frame ${this.frame + 1} to ${this.frame + 2}`);
    $('frame-text').textContent = `${this.frame + 1} / ${frames.length} · ${seconds(times[this.frame])}`;
    $('scrubber').value = this.frame;
    $('scrubber').setAttribute('aria-valuetext', position);
    this.#onFrame(this.frame, this.#maps);
  }

  step(by) {
    this.pause();
    this.show(this.frame + by);
  }

  play() {
    this.#playing = setInterval(() => this.show((this.frame + 1) % this.#clip.frames.length), MS_PER_FRAME);
    this.#label();
  }

  pause() {
    clearInterval(this.#playing);
    this.#playing = 0;
    this.#label();
  }

  #label() {
    $('play').setAttribute('aria-pressed', String(this.#playing !== 0));
    $('play').setAttribute('aria-label', this.#playing ? 'Pause' : 'Play');
  }

  // The map's opacity in percent, or as the slider stands.
  fade(percent = null) {
    if (percent !== null) $('opacity').value = percent;
    $('overlay').style.opacity = Number($('opacity').value) / 100;
    $('opacity').setAttribute('aria-valuetext', `${$('opacity').value} %`);
  }
}
