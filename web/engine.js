// The worker, kept alive. In: requests. Out: the worker's messages, as events of the same names, plus
// 'restarted' {message} when it had to be replaced. The messages are described in messages.md.

import { script } from './dom.js';

const SECONDS_OF_SILENCE = 30;

export class Engine extends EventTarget {
  #worker = null;
  #waiting = [];       // requests made before the worker said 'ready'
  #ready = false;
  #open = new Map();   // id -> request that the worker has still to answer
  #paused = new Set(); // ids of requests in which it is the page's turn
  #nextId = 1;
  #limit = SECONDS_OF_SILENCE;
  #watchdog = 0;
  #model = null;       // the last model that loaded: asked for again after a restart
  #settings = {};      // and so are the settings
  #choice = null;      // where the network shall run

  start() {
    this.#ready = false;
    this.#worker = new Worker(script('worker.js'), { type: 'module' });
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onmessageerror = () => this.#replace('An answer of the analysis could not be read.');
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#replace(event.message ? `The analysis stopped: ${event.message}.` : 'The analysis could not start.');
    };
    this.#watch();
  }

  // Ask for something; the answers carry the id that is returned.
  request(message, transfer = []) {
    const id = this.#nextId++;
    this.#open.set(id, message);
    if (message.type === 'settings') Object.assign(this.#settings, message, { type: undefined });
    if (message.type === 'backend') this.#choice = message.choice;
    this.#send({ ...message, id }, transfer);
    return id;
  }

  // Answer a question of the worker, within its request.
  reply(id, message, transfer = []) {
    if (!this.#open.has(id)) return;
    this.#paused.delete(id);
    this.#send({ ...message, id }, transfer);
  }

  cancel(id) {
    if (this.#open.has(id)) this.#send({ type: 'cancel', id });
  }

  #send(message, transfer) {
    if (this.#ready) this.#worker.postMessage(message, transfer ?? []);
    else this.#waiting.push([message, transfer ?? []]);
    this.#watch();
  }

  #receive(message) {
    if (message.type === 'ready') {
      this.#ready = true;
      for (const [waiting, transfer] of this.#waiting.splice(0)) this.#worker.postMessage(waiting, transfer);
    }
    if (message.type === 'model') this.#model = this.#open.get(message.id) ?? this.#model;
    if (message.type === 'progress') this.#limit = Math.max(SECONDS_OF_SILENCE, message.limit ?? 0);
    if (message.type === 'need-video-element' || message.type === 'seek') this.#paused.add(message.id);
    if (['done', 'cancelled', 'error'].includes(message.type)) {
      this.#open.delete(message.id);
      this.#paused.delete(message.id);
      this.#limit = SECONDS_OF_SILENCE;
    }
    this.#watch();
    if (message.type === 'error' && message.fatal) this.#replace(message.message);
    else this.#emit(message);
  }

  // Silence is only suspicious while the worker owes an answer.
  #watch() {
    clearTimeout(this.#watchdog);
    const owes = !this.#ready || [...this.#open.keys()].some((id) => !this.#paused.has(id));
    if (!owes) return;
    const limit = this.#limit;
    const silent = `The analysis said nothing for ${limit} seconds and was stopped.`;
    this.#watchdog = setTimeout(() => this.#replace(silent), limit * 1000);
  }

  #replace(message) {
    clearTimeout(this.#watchdog);
    this.#worker.terminate();
    const couldStart = this.#ready;
    const lostModel = [...this.#open.values()].some(({ type }) => type === 'load-model');
    this.#open.clear();
    this.#paused.clear();
    this.#waiting = [];
    this.#limit = SECONDS_OF_SILENCE;
    // A worker that never came up would not come up the next time either.
    if (couldStart) {
      this.start();
      // It may have been the graphics card, which is not waited for twice. The user can choose it again.
      if (this.#choice) this.request({ type: 'backend', choice: 'cpu', reason: 'The analysis had to be started again.' });
      if (this.#model) this.request(this.#model);
      if (Object.keys(this.#settings).length) this.request({ ...this.#settings, type: 'settings' });
    }
    this.#emit({ type: 'restarted', message, couldStart, lostModel });
  }

  #emit(message) {
    this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
  }
}
