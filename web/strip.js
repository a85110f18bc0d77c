// The clip as in the paper's Figure 6: a column per frame, a row per kind. In: pictures. Out: a table.

import { $, element, picture, seconds } from './dom.js';

export class Strip {
  #onFrame;
  #onStage;
  #rows = {};
  #stages = []; // whose maps stand below each other, if they do; else one stage's displacement and confidence

  // onFrame(frame), onStage(stage): what was clicked on.
  constructor(onFrame, onStage) {
    this.#onFrame = onFrame;
    this.#onStage = onStage;
  }

  // every: of every frame of a video it would be too long, and stays empty; stages: their names, or none.
  setClip({ frames, times }, { every = false, stages = [] } = {}) {
    this.#stages = stages;
    this.#rows = {};
    $('strip').querySelector('tbody').replaceChildren();
    if (every) return;
    $('strip').style.setProperty('--columns', frames.length);
    $('strip').classList.toggle('stages', this.#stages.length > 0);
    this.#rows.frames = row('frames', frames.map((frame, i) => {
      const canvas = picture(frame, `frame ${i + 1}, at ${seconds(times[i])}`);
      const button = element('button', { type: 'button' }, canvas);
      button.addEventListener('click', () => this.#onFrame(i));
      return element('td', {}, button);
    }));
    for (const title of this.#stages.length ? this.#stages : ['displacement', 'confidence']) {
      this.#rows[title] = row(title, frames.map((_, i) => element('td', { className: i < frames.length - 1 ? 'waiting' : '' })));
    }
    $('strip').querySelector('tbody').replaceChildren(...Object.values(this.#rows));
  }

  setMaps(maps) {
    if (this.#stages.length) return this.#fill(maps.stage, maps.displacement, `displacement of ${maps.stage}`, maps.stage);
    for (const kind of ['displacement', 'confidence']) this.#fill(kind, maps[kind], kind);
  }

  #fill(title, pictures, kind, stage) {
    pictures.forEach((map, i) => {
      const cell = this.#rows[title]?.cells[i + 1];
      if (!cell) return;
      cell.className = '';
      cell.replaceChildren(picture(map, `${kind} from frame ${i + 1} to ${i + 2}`));
      cell.onclick = () => {
        this.#onFrame(i);
        if (stage) this.#onStage(stage);
      };
    });
  }

  // Two rows more while there is something to compare with; name: what it is.
  setBeside(maps, name) {
    for (const kind of ['beside', 'difference']) {
      this.#rows[kind]?.remove();
      delete this.#rows[kind];
    }
    if (!maps || this.#stages.length) return;
    for (const [kind, title, pictures] of [['beside', name, maps.displacement], ['difference', 'difference', maps.difference]]) {
      this.#rows[kind] = row(title, pictures.map(() => element('td')));
      this.#rows.confidence.before(this.#rows[kind]);
      this.#fill(kind, pictures, title);
    }
  }

  mark(frame) {
    for (const row of Object.values(this.#rows)) {
      [...row.cells].forEach((cell, i) => cell.classList.toggle('current', i === frame + 1));
    }
    this.#rows.frames?.querySelectorAll('button').forEach((button, i) => {
      if (i === frame) button.setAttribute('aria-current', 'true');
      else button.removeAttribute('aria-current');
    });
  }
}

const row = (title, cells) => element('tr', {}, element('th', { scope: 'row', textContent: title }), ...cells);
