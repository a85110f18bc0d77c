// A worker: pictures become a GIF. In, one by one: {picture: ImageData, delay: milliseconds}, then {end: true}. Out: {} for
// each picture, then {bytes: Uint8Array}; or {error: text}.

import { GIFEncoder, applyPalette, quantize } from './vendor/gifenc.js'; // https://github.com/mattdesl/gifenc 1.0.3, MIT

const COLOURS = 256;
const gif = GIFEncoder();

self.onmessage = ({ data: { picture, delay, end } }) => {
  try {
    if (end) {
      gif.finish();
      const bytes = gif.bytes();
      self.postMessage({ bytes }, [bytes.buffer]);
      return;
    }
    const { data, width, height } = picture;
    const palette = quantize(data, COLOURS); // each picture its own: a map's colours are not those of the next frame
    gif.writeFrame(applyPalette(data, palette), width, height, { palette, delay });
    self.postMessage({});
  } catch (error) {
    self.postMessage({ error: `The GIF could not be made: ${error.message}` });
  }
};
