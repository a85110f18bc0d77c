// Frames by the browser's own player, for files whose frames the worker cannot decode one by one.
// In: a file and times in seconds. Out: pictures near those times ("approximate": a player seeks as it likes).

const SECONDS_TO_OPEN = 10;
const SECONDS_TO_SEEK = 8;

export class VideoFrames {
  #video = document.createElement('video');
  #url;

  constructor(file) {
    this.#url = URL.createObjectURL(file);
    this.#video.muted = true;
    this.#video.playsInline = true;
    this.#video.preload = 'auto';
  }

  // Duration in seconds and size in pixels, or an error when the player cannot open the file either.
  async open() {
    const opened = happens(this.#video, 'loadeddata', SECONDS_TO_OPEN);
    this.#video.src = this.#url;
    await opened;
    if (!this.#video.videoWidth) throw new Error('the file has no picture');
    if (this.#video.duration === Infinity) await this.#findEnd();
    return {
      duration: this.#video.duration,
      width: this.#video.videoWidth,
      height: this.#video.videoHeight,
    };
  }

  async frames(times, onProgress) {
    const frames = [];
    for (const time of times) {
      onProgress(frames.length, times.length);
      await this.#seek(time);
      frames.push(await createImageBitmap(this.#video));
    }
    return frames;
  }

  close() {
    this.#video.removeAttribute('src');
    this.#video.load();
    URL.revokeObjectURL(this.#url);
  }

  async #seek(time) {
    if (this.#video.currentTime === time && !this.#video.seeking) return;
    const sought = happens(this.#video, 'seeked', SECONDS_TO_SEEK);
    this.#video.currentTime = time;
    await sought;
  }

  // Recordings that a browser made state no duration until the player has been at their end.
  async #findEnd() {
    const known = happens(this.#video, 'durationchange', SECONDS_TO_SEEK);
    this.#video.currentTime = Number.MAX_SAFE_INTEGER;
    await known;
  }
}

function happens(video, event, seconds) {
  return new Promise((resolve, reject) => {
    const stop = new AbortController();
    const settle = (settled) => { stop.abort(); clearTimeout(timer); settled(); };
    const fail = (text) => settle(() => reject(new Error(text)));
    const timer = setTimeout(() => fail(`the player was silent for ${seconds} seconds`), seconds * 1000);
    video.addEventListener(event, () => settle(resolve), { signal: stop.signal });
    video.addEventListener('error', () => fail(video.error?.message || 'the player cannot open it'), { signal: stop.signal });
  });
}
