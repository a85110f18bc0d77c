// The Chromium of the comparison. In: further flags. Out: a browser.
import { chromium } from 'playwright-core';
import { QUIET, SWIFTSHADER_GRAPHICS } from '../chromium.mjs';

// What a graphics card of a machine without a screen needs.
const VULKAN = ['--enable-features=Vulkan', '--use-angle=vulkan', '--disable-vulkan-surface'];
// A run on a card that is a program takes a minute: nobody is to take it for one that hangs. Times come to the nanosecond.
const WEBGPU = ['--enable-unsafe-webgpu', '--enable-webgpu-developer-features', '--disable-gpu-watchdog'];
export const CARD = [...WEBGPU, '--ignore-gpu-blocklist', ...(process.platform === 'linux' ? VULKAN : [])];
export const SWIFTSHADER = [...WEBGPU, ...SWIFTSHADER_GRAPHICS];

export const launch = (flags) => chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: [...QUIET, ...flags],
});
