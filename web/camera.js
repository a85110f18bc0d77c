// The webcam. In: a click. Out: its last frames, as many as a clip has. It is asked for by that click alone, and let go of
// when it is not watched any more.

import { wait } from './dom.js';

const FRAME_MS = 90;  // between the frames of a clip: in a tenth of a second things move a few cells
const HEIGHT = 256;   // of the pictures that are kept, in pixels: the network sees less

export class Camera {
  #stream = null;
  #video = document.createElement('video');
  #frames = [];       // [{picture, time}], the newest last
  #count;
  #began = 0;
  #onChange;

  // onChange(on): it is watched from now on, or not any more, whoever ended it.
  constructor(onChange) {
    this.#onChange = onChange;
    this.#video.muted = true;
    this.#video.playsInline = true;
  }

  get on() {
    return this.#stream !== null;
  }

  // count: frames of a clip. Errors are sentences to show.
  async start(count) {
    this.#count = count;
    if (!navigator.mediaDevices) throw new Error('This page may not use a camera: it needs https, or this machine’s own address.');
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 } } });
    } catch (error) {
      const words = {
        NotAllowedError: 'The camera was not allowed. Allow it in the browser’s address bar, and try again.',
        NotFoundError: 'There is no camera here.',
        NotReadableError: 'The camera cannot be read: another program may be using it.',
      };
      throw new Error(words[error.name] ?? `The camera did not start: ${error.message}.`);
    }
    this.#stream.getVideoTracks()[0].addEventListener('ended', () => this.stop());
    this.#video.srcObject = this.#stream;
    await this.#video.play();
    this.#began = performance.now();
    this.#onChange(true);
    this.#watch(this.#stream);
  }

  stop() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#video.srcObject = null;
    for (const { picture } of this.#frames.splice(0)) picture.close();
    this.#onChange(false);
  }

  // A copy of the newest frames, once there are enough: {frames: [ImageBitmap], times: [seconds]}; null when it was stopped.
  async clip() {
    while (this.on && this.#frames.length < this.#count) await wait(FRAME_MS);
    if (!this.on) return null;
    const frames = [...this.#frames];
    const pictures = await Promise.all(frames.map(({ picture }) => createImageBitmap(picture)));
    return { frames: pictures, times: frames.map(({ time }) => time) };
  }

  // What comes while nobody takes it makes room for what comes after it.
  async #watch(stream) {
    while (this.#stream === stream) {
      const time = (performance.now() - this.#began) / 1000;
      const picture = await createImageBitmap(this.#video, { resizeHeight: HEIGHT, resizeQuality: 'medium' }).catch(() => null);
      if (this.#stream !== stream) picture?.close();
      else if (picture) this.#frames.push({ picture, time });
      while (this.#frames.length > this.#count) this.#frames.shift().picture.close();
      await wait(FRAME_MS);
    }
  }
}
