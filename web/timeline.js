// Which part of the video makes the clip, and where in it the clip's frames lie, over what the video looks like there. In: a
// clip. Out: another part.

import { $, element, paint, seconds } from './dom.js';

const STEPS = 500; // of the handles where nobody knows the number of frames
const PICTURES = 12; // on the track at most
const TICKS = 64; // more would be a line

// Whether each frame of the part is looked at, not those of one clip.
export const isEvery = (sampling = '') => sampling.startsWith('every');

export class Timeline {
  #seconds = [0, 0]; // of the video's first and last frame
  #step = 1;
  #usual = {}; // {sampling, frames} of the model
  #file = null; // the video whose pictures lie on the track
  #onChange;

  // onChange({from, to, sampling, frames}): what is as the video or the model has it is left out.
  constructor(onChange) {
    this.#onChange = onChange;
    for (const id of ['from', 'to']) {
      $(id).addEventListener('input', () => this.#keepApart(id));
      $(id).addEventListener('change', () => this.#onChange(this.#part()));
    }
    for (const id of ['sampling', 'together']) $(id).addEventListener('change', () => this.#onChange(this.#part()));
    $('whole').addEventListener('click', () => this.#onChange({ ...this.#part(), from: undefined, to: undefined }));
  }

  // Whether the video's length is known.
  get known() {
    return this.#seconds[1] > this.#seconds[0];
  }

  setClip({ source, times, frames }, { from, to, sampling, frames: together }, usual, file) {
    const [first, last] = source.seconds ?? [0, 0];
    this.#seconds = [first, last];
    if (!this.known) return;
    this.#step = (last - first) / (source.frames > 1 ? source.frames - 1 : STEPS);
    for (const [id, value] of [['from', from ?? first], ['to', to ?? last]]) {
      Object.assign($(id), { min: first, max: last, step: this.#step });
      $(id).value = value;
    }
    $('sampling').value = sampling ?? usual.sampling;
    this.#offer(together ?? usual.frames, usual.frames);
    this.#usual = usual;
    // The pictures of all of it stay while a part of it is looked at.
    const whole = from === undefined && to === undefined;
    if (whole || file !== this.#file) this.#paint(frames, times);
    this.#file = file;
    const place = (time) => (time - first) / (last - first);
    $('ticks').replaceChildren(...(times.length > TICKS ? [] : times).map((time) => {
      const tick = element('i');
      tick.style.setProperty('--at', place(time));
      return tick;
    }));
    this.#label();
  }

  // How many frames the network looks at together: as it was trained, or twice as many.
  #offer(chosen, usual) {
    const counts = [...new Set([usual, 2 * usual, chosen])].sort((a, b) => a - b);
    $('together').replaceChildren(...counts.map((value) => element('option', { value, textContent: `${value} frames` })));
    $('together').value = chosen;
  }

  // Each picture as far as halfway to its neighbours.
  #paint(allFrames, allTimes) {
    const [first, last] = this.#seconds;
    const each = Math.ceil(allFrames.length / PICTURES);
    const [frames, times] = [allFrames, allTimes].map((all) => all.filter((_, i) => i % each === 0));
    const ends = times.map((time, i) => (i + 1 < times.length ? (time + times[i + 1]) / 2 : Math.max(last, time)));
    $('film').replaceChildren(...frames.map((frame, i) => {
      const canvas = paint(document.createElement('canvas'), frame);
      const begins = i ? ends[i - 1] : first;
      canvas.style.setProperty('--at', (begins - first) / (last - first));
      canvas.style.setProperty('--part', Math.max(ends[i] - begins, 0) / (last - first));
      return canvas;
    }));
  }

  // Two frames at least.
  #keepApart(moved) {
    const [from, to] = [$('from'), $('to')];
    if (to.valueAsNumber - from.valueAsNumber < this.#step * 0.99) {
      if (moved === 'from') from.valueAsNumber = Math.max(to.valueAsNumber - this.#step, this.#seconds[0]);
      else to.valueAsNumber = Math.min(from.valueAsNumber + this.#step, this.#seconds[1]);
    }
    this.#label();
  }

  #part() {
    const [first, last] = this.#seconds;
    const [from, to] = [$('from').valueAsNumber, $('to').valueAsNumber];
    const [sampling, frames] = [$('sampling').value, Number($('together').value)];
    return {
      from: from - first < this.#step / 2 ? undefined : from,
      to: last - to < this.#step / 2 ? undefined : to,
      sampling: sampling === this.#usual.sampling ? undefined : sampling,
      frames: frames === this.#usual.frames ? undefined : frames,
    };
  }

  #label() {
    const [first, last] = this.#seconds;
    const [from, to] = [$('from').valueAsNumber, $('to').valueAsNumber];
    $('ticks').style.setProperty('--from', (from - first) / (last - first));
    $('ticks').style.setProperty('--to', (to - first) / (last - first));
    for (const id of ['from', 'to']) $(id).setAttribute('aria-valuetext', seconds($(id).valueAsNumber));
    const { from: begins, to: ends } = this.#part();
    const whole = begins === undefined && ends === undefined;
    $('whole').hidden = whole;
    $('part-text').textContent = whole ? `all ${(last - first).toFixed(2)} s` : `${from.toFixed(2)} to ${to.toFixed(2)} s`;
  }
}
