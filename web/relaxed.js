// Which of the two files of a module this browser runs: with relaxed SIMD, a * b + c in one instruction, where there is
// such a thing, else with a product and a sum. The answer comes from a module of that instruction alone.
const RELAXED = WebAssembly.validate(new Uint8Array([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 8, 1, 0x60, 3, 0x7b, 0x7b, 0x7b, 1, 0x7b, 3, 2, 1, 0,
  10, 13, 1, 11, 0, 0x20, 0, 0x20, 1, 0x20, 2, 0xfd, 0x85, 2, 0x0b,
]));

export const wasmFile = RELAXED ? 'motion_web_relaxed.wasm' : 'motion_web_bg.wasm';
