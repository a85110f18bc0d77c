// node example.js file:///path/to/a/model/  — a speckled square goes to the right before a speckled wall.
import { load } from 'motion-web';

const network = await load(process.argv[2]);
const noise = (x, y) => 255 * ((Math.abs(Math.sin((x >> 3) * 12.9898 + (y >> 3) * 78.233)) * 43758.5453) % 1);
const frames = Array.from({ length: 8 }, (_, t) => {
  const [width, height] = [320, 240];
  const rgba = new Uint8Array(4 * width * height).fill(255);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const inside = x >= 40 + 12 * t && x < 160 + 12 * t && y >= 60 && y < 180;
      rgba.fill(inside ? noise(x - 12 * t, y) : noise(x, y + 999), 4 * (y * width + x), 4 * (y * width + x) + 3);
    }
  }
  return { width, height, rgba };
});
const { scores, maps } = await network.run(frames);
console.log(scores[0].label, scores[0].probability.toFixed(2));
for (const { stage, words } of maps) console.log(`${stage}: ${words[3]}`);
