// The Chromium of the comparison. In: further flags. Out: a browser.
import { chromium } from 'playwright-core';

// What a graphics card of a machine without a screen needs.
const VULKAN = ['--enable-features=Vulkan', '--use-angle=vulkan', '--disable-vulkan-surface'];
// A run on a card that is a program takes a minute: nobody is to take it for one that hangs. Times come to the nanosecond.
const WEBGPU = ['--enable-unsafe-webgpu', '--enable-webgpu-developer-features', '--disable-gpu-watchdog'];
export const CARD = [...WEBGPU, '--ignore-gpu-blocklist', ...(process.platform === 'linux' ? VULKAN : [])];
// All of the browser on SwiftShader: without graphics of its own a worker that draws ends the devices of all others.
export const SWIFTSHADER = [
  ...WEBGPU, '--use-webgpu-adapter=swiftshader', '--use-vulkan=swiftshader', '--enable-features=Vulkan', '--use-angle=swiftshader',
  '--ignore-gpu-blocklist', '--enable-unsafe-swiftshader',
];

export const launch = (flags) => chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ['--no-sandbox', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync', ...flags],
});
