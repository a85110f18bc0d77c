// The clip as in the paper's Figure 6: a column per frame, a row per kind. In: pictures. Out: a table.

import { $, element, picture, seconds } from './dom.js';

export class Strip {
  #onFrame;
  #rows = {};

  constructor(onFrame) {
    this.#onFrame = onFrame;
  }

  // Of every frame of a video it would be too long, and stays empty.
  setClip({ frames, times }, every = false) {
    this.#rows = {};
    if (every) return $('strip').querySelector('tbody').replaceChildren();
    const row = (title) => element('tr', {}, element('th', { scope: 'row', textContent: title }));
    this.#rows = { frames: row('frames'), displacement: row('displacement'), confidence: row('confidence') };
    frames.forEach((frame, i) => {
      const canvas = picture(frame, `frame ${i + 1}, at ${seconds(times[i])}`);
      const button = element('button', { type: 'button' }, canvas);
      button.addEventListener('click', () => this.#onFrame(i));
      this.#rows.frames.append(element('td', {}, button));
      for (const kind of ['displacement', 'confidence']) {
        this.#rows[kind].append(element('td', { className: i < frames.length - 1 ? 'waiting' : '' }));
      }
    });
    $('strip').querySelector('tbody').replaceChildren(...Object.values(this.#rows));
  }

  setMaps(maps) {
    if (!this.#rows.displacement) return;
    for (const kind of ['displacement', 'confidence']) {
      maps[kind].forEach((map, i) => {
        const cell = this.#rows[kind].cells[i + 1];
        cell.className = '';
        cell.replaceChildren(picture(map, `${kind} from frame ${i + 1} to ${i + 2}`));
        cell.onclick = () => this.#onFrame(i);
      });
    }
  }

  // Two rows more while there is something to compare with; name: what it is.
  setBeside(maps, name) {
    for (const kind of ['beside', 'difference']) {
      this.#rows[kind]?.remove();
      delete this.#rows[kind];
    }
    if (!maps) return;
    for (const [kind, title, pictures] of [['beside', name, maps.displacement], ['difference', 'difference', maps.difference]]) {
      const row = element('tr', {}, element('th', { scope: 'row', textContent: title }));
      row.append(...pictures.map((map, i) => {
        const cell = element('td', {}, picture(map, `${title} from frame ${i + 1} to ${i + 2}`));
        cell.onclick = () => this.#onFrame(i);
        return cell;
      }));
      this.#rows[kind] = row;
      this.#rows.confidence.before(row);
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
