// What every Chromium of the tests and comparisons is started with.

export const QUIET = [
  '--no-sandbox', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

// WebGPU on SwiftShader, a program in the place of a graphics card.
export const SWIFTSHADER = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];

// The same with the rest of the browser on SwiftShader, too: only so do pictures go to WebGPU and come from it. Without
// graphics of its own a worker that draws ends the devices of all others.
export const SWIFTSHADER_GRAPHICS = [
  ...SWIFTSHADER, '--use-vulkan=swiftshader', '--enable-features=Vulkan', '--use-angle=swiftshader', '--ignore-gpu-blocklist',
  '--enable-unsafe-swiftshader',
];
