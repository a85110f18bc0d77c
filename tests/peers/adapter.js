// Which graphics adapter Chromium has here for WebGPU: a card, or else SwiftShader, a program on the processor.
// In: the address of any page of the server, for WebGPU wants one. Out: one line of JSON, {name, card, flags}.
import { CARD, launch, SWIFTSHADER } from './chromium.js';

// A graphics process that cannot start with what it is asked for never answers.
const SECONDS = 20;

async function adapter(flags) {
  const browser = await launch(flags);
  try {
    const page = await browser.newPage();
    await page.goto(process.argv[2]);
    const info = await page.evaluate((seconds) => Promise.race([
      navigator.gpu?.requestAdapter({ powerPreference: 'high-performance' })
        .then((found) => found && { name: found.info.description || found.info.vendor, card: !found.info.isFallbackAdapter }),
      new Promise((resolve) => { setTimeout(resolve, 1000 * seconds); }),
    ]), SECONDS);
    return info && { ...info, flags };
  } finally {
    await browser.close();
  }
}

const card = await adapter(CARD);
const found = card?.card ? card : await adapter(SWIFTSHADER);
if (found) console.log(JSON.stringify(found));
else console.error('this Chromium has no WebGPU adapter, not even SwiftShader');
process.exitCode = found ? 0 : 1;
