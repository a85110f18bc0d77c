// How likely the actions are from window to window, where every frame is looked at. In: the worker's scores. Out: a chart under
// the picture; a click leads to the frame.

import { $, element, percent, seconds } from './dom.js';

const SVG = 'http://www.w3.org/2000/svg';

export class Chart {
  #times = [];
  #onFrame;

  constructor(onFrame) {
    this.#onFrame = onFrame;
    $('chart-lines').addEventListener('click', ({ clientX, currentTarget }) => {
      const { left, width } = currentTarget.getBoundingClientRect();
      this.#onFrame(this.#nearest((clientX - left) / width));
    });
  }

  // times: of the frames; over_time: [{from, to, probabilities}] of the actions in top. Nothing where there is none.
  set({ times }, { top, over_time }) {
    this.#times = times;
    const windows = over_time ?? [];
    const lines = top.map((_, action) => {
      const line = document.createElementNS(SVG, 'polyline');
      const points = windows.map(({ from, to, probabilities }) => [this.#place((from + to) / 2), 1 - probabilities[action]]);
      // From the first frame to the last: the windows at the ends speak for what lies beyond their middle.
      if (points.length) points.splice(0, 0, [0, points[0][1]]), points.push([1, points.at(-1)[1]]);
      line.setAttribute('points', points.map((point) => point.join()).join(' '));
      return line;
    });
    $('chart-lines').querySelector('svg').replaceChildren(...lines.reverse());
    $('chart-actions').replaceChildren(...top.map(({ label }) => element('li', { textContent: label })));
    const heads = ['window', ...top.map(({ label }) => label)].map((textContent) => element('th', { scope: 'col', textContent }));
    const rows = windows.map(({ from, to, probabilities }) => element('tr', {},
      element('th', { scope: 'row', textContent: `${seconds(from)} to ${seconds(to)}` }),
      ...probabilities.map((share) => element('td', { textContent: percent(share) }))));
    $('chart-table').replaceChildren(element('tr', {}, ...heads), ...rows);
  }

  mark(frame) {
    if (this.#times.length) $('chart-lines').style.setProperty('--now', this.#place(this.#times[frame] ?? 0));
  }

  #place(time) {
    const [first, last] = [this.#times[0], this.#times.at(-1)];
    return last > first ? (time - first) / (last - first) : 0;
  }

  #nearest(place) {
    const far = this.#times.map((time) => Math.abs(this.#place(time) - place));
    return far.indexOf(Math.min(...far));
  }
}
