// Is the engine a package that another program can use, and are its numbers the native program's?

import { execFileSync, execSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { arrays, demoFile, expect, ffmpeg, MODEL, motionlens, scratch, test } from './support.js';
import { xtask } from './xtask.js';

// A program that has installed the package as anybody would.
const project = join(scratch, 'project');
const node = (...args) => execFileSync('node', args, { cwd: project, maxBuffer: 1 << 28 }).toString();

test.beforeAll(() => {
  const folder = join(scratch, 'npm');
  execSync(`${xtask} npm --no-build --out "${folder}"`, { cwd: '../..', stdio: 'pipe' });
  const packed = execSync(`npm pack --silent --pack-destination "${scratch}" "${folder}"`).toString().trim();
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), '{ "type": "module", "private": true }');
  execSync(`npm install --silent --offline "${join(scratch, packed)}"`, { cwd: project, stdio: 'pipe' });
});

test('the example says what moves', () => {
  writeFileSync(join(project, 'example.js'), readFileSync(join(scratch, 'npm/example.js')));
  const [action, ...maps] = node('example.js', `${pathToFileURL(MODEL)}/`).trim().split('\n');
  expect(action).toMatch(/^\D+ [01]\.\d\d$/);
  expect(maps.length).toBeGreaterThan(0);
  expect(maps[0]).toMatch(/% of the picture moves, in the .*, to the right, by \d\.\d cells/);
});

test('its types fit the example', () => {
  execFileSync(join(import.meta.dirname, 'node_modules/.bin/tsc'), [
    '--noEmit', '--strict', '--allowJs', '--checkJs', '--noImplicitAny', 'false', '--target', 'es2022', '--module', 'nodenext', '--types', 'node',
    '--typeRoots', join(import.meta.dirname, 'node_modules/@types'), 'example.js',
  ], { cwd: project, stdio: 'pipe' });
});

test('the same frames give the native program’s maps', () => {
  const frames = join(scratch, 'frames');
  mkdirSync(frames);
  ffmpeg('frames/%04d.png', '-i', demoFile, '-vf', "select='not(mod(n,7))'", '-fps_mode', 'vfr', '-frames:v', '8');
  const raw = ffmpeg('frames.rgba', '-i', join(frames, '%04d.png'), '-f', 'rawvideo', '-pix_fmt', 'rgba');
  const [width, height] = execFileSync('ffprobe', ['-v', 'error', '-show_entries', 'stream=width,height', '-of', 'csv=p=0', join(frames, '0001.png')])
    .toString().split(',').map(Number);
  const out = join(scratch, 'native');
  motionlens('maps', frames, '--model', MODEL, '--out', out, '--format', 'npz', '--backend', 'cpu');
  const native = arrays(join(out, 'maps.npz'));
  writeFileSync(join(project, 'numbers.js'), `
    import { readFileSync } from 'node:fs';
    import { load } from 'motion-web';
    const bytes = readFileSync(${JSON.stringify(raw)});
    const size = ${4 * width * height};
    const frames = Array.from({ length: 8 }, (_, t) => ({ width: ${width}, height: ${height}, rgba: bytes.subarray(t * size, (t + 1) * size) }));
    const { maps } = await (await load(${JSON.stringify(`${pathToFileURL(MODEL)}/`)})).run(frames);
    console.log(JSON.stringify(maps.map((one) => ({ ...one, displacement: [...one.displacement], confidence: [...one.confidence] }))));`);
  for (const { stage, width: across, height: down, displacement, confidence } of JSON.parse(node('numbers.js'))) {
    const expected = native[`displacement.${stage}`];
    expect(displacement).toHaveLength(expected.length);
    const cells = across * down;
    const largest = displacement.reduce((most, value, i) => {
      const [axis, cell, pair] = [i % 2, Math.floor(i / 2) % cells, Math.floor(i / 2 / cells)];
      return Math.max(most, Math.abs(value * native[`cell.${stage}`][axis] - expected[(2 * pair + axis) * cells + cell]));
    }, 0);
    console.log(`${stage}: largest difference ${largest.toExponential(1)} pixels`);
    expect(largest).toBeLessThan(1e-3);
    expect(Math.max(...confidence.map((value, i) => Math.abs(value - native[`confidence.${stage}`][i])))).toBeLessThan(1e-3);
  }
});
