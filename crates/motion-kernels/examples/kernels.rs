//! How near is each kernel to what this machine could do? Prints, for each layer of the networks, its time beside the
//! floor: its operations over the measured peak, or its bytes (input, weights, output, once each) over the measured
//! bandwidth, whichever is longer.
//!
//! `cargo run --release -p motion-kernels --example kernels [-- words]`: only layers whose line has these words; threads
//! by `RAYON_NUM_THREADS`, instructions by `MOTIONLENS_LEVEL`.
#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::mem::MaybeUninit;
use std::time::Instant;

use motion_kernels::measure::{bandwidth, peak};
use motion_kernels::{
    Bottleneck, Conv, ConvInput, Depthwise, Displacement, Found, Gradient, Level, Limits, Search, Shape,
};

/// Operations of a term of the softmax: an exponential, its argument and three sums.
const EXP: usize = 32;

/// Frames of a clip.
const N: usize = 8;

/// Dense layers: channels in and out, kernel, stride, side of the input.
const DENSE: [[usize; 5]; 16] = [
    [3, 64, 7, 2, 224],
    [64, 64, 3, 1, 56],
    [64, 128, 3, 2, 56],
    [128, 128, 3, 1, 28],
    [256, 256, 3, 1, 14],
    [512, 512, 3, 1, 7],
    [64, 256, 1, 1, 56],
    [256, 64, 1, 1, 56],
    [512, 128, 1, 1, 28],
    [128, 512, 1, 1, 28],
    [1024, 256, 1, 1, 14],
    [256, 1024, 1, 1, 14],
    [2048, 512, 1, 1, 7],
    [3, 32, 3, 2, 224],
    [320, 1280, 1, 1, 7],
    [64, 128, 1, 2, 56],
];

/// MobileNetV2's blocks: channels in, between and out, stride, side of the input.
const BLOCKS: [[usize; 5]; 8] = [
    [32, 32, 16, 1, 112],
    [16, 96, 24, 2, 112],
    [24, 144, 24, 1, 56],
    [24, 144, 32, 2, 56],
    [32, 192, 32, 1, 28],
    [64, 384, 64, 1, 14],
    [96, 576, 96, 1, 14],
    [160, 960, 160, 1, 7],
];

struct Machine {
    peak: f64,
    bandwidth: f64,
    /// What the name of a layer must have in it.
    only: String,
}

impl Machine {
    /// Prints a line: name, milliseconds, the floor's, and what share of the floor's speed that is.
    fn report(&self, name: &str, operations: usize, values: usize, mut work: impl FnMut()) {
        if !name.contains(&self.only) {
            return;
        }
        work();
        let (mut best, start) = (f64::INFINITY, Instant::now());
        while start.elapsed().as_secs_f64() < 0.25 {
            let start = Instant::now();
            work();
            best = best.min(start.elapsed().as_secs_f64());
        }
        let floor = (operations as f64 / self.peak).max(4.0 * values as f64 / self.bandwidth);
        println!(
            "{name:44} {:8.2} ms  floor {:7.2} ms  {:4.0} %",
            1e3 * best,
            1e3 * floor,
            100.0 * floor / best
        );
    }
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919) % 1999) as f32 / 1000.0 - 1.0).collect()
}

fn room(count: usize) -> Vec<MaybeUninit<f32>> {
    vec![MaybeUninit::new(0.0); count]
}

fn main() {
    let level = Level::best();
    let only = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let machine = Machine { peak: peak(level), bandwidth: bandwidth(), only };
    println!(
        "{level:?}: {:.0} GFLOP/s at best, copies {:.1} GB/s\n",
        machine.peak / 1e9,
        machine.bandwidth / 1e9
    );
    for [input, output, kernel, stride, side] in DENSE {
        let shape = Shape { input, output, kernel, stride };
        let to = shape.out(side);
        let (x, weight) = (numbers(N * side * side * input), numbers(output * shape.window()));
        let conv = Conv::with_level(level, shape, &weight, &numbers(output));
        let mut out = room(N * to * to * output);
        let operations = 2 * out.len() * shape.window();
        let values = x.len() + weight.len() + out.len();
        let name = format!("{kernel}x{kernel} stride {stride}, {side}x{side}, {input} to {output}");
        machine.report(&name, operations, values, || {
            let size = [N, side, side];
            conv.run(ConvInput { x: &x, size, shift: None, residual: None, limits: Limits::RELU }, &mut out);
        });
    }
    println!();
    for [from, inner, to, stride, side] in BLOCKS {
        let pointwise = |input, output| Shape { input, output, kernel: 1, stride: 1 };
        let middle = Shape { input: inner, output: inner, kernel: 3, stride };
        let expand = Conv::with_level(level, pointwise(from, inner), &numbers(from * inner), &numbers(inner));
        let depthwise = Depthwise::with_level(level, middle, &numbers(middle.window()), &numbers(inner));
        let project = Conv::with_level(level, pointwise(inner, to), &numbers(inner * to), &numbers(to));
        let small = middle.out(side);
        let x = numbers(N * side * side * from);
        let mut out = room(N * small * small * to);
        let block = Bottleneck {
            expand: (inner > from).then_some((&expand, Limits::RELU6)),
            depthwise: (&depthwise, Limits::RELU6),
            project: &project,
        };
        let expansion = if inner > from { side * side * from * inner } else { 0 };
        let operations = 2 * N * (expansion + small * small * inner * (9 + to));
        let values = x.len() + out.len() + inner * (from + 9 + to);
        machine.report(
            &format!("block {from}-{inner}-{to} stride {stride}, {side}x{side}"),
            operations,
            values,
            || {
                let size = [N, side, side];
                block.run(
                    ConvInput { x: &x, size, shift: None, residual: None, limits: Limits::NONE },
                    &mut out,
                );
            },
        );
        let wide = numbers(N * side * side * inner);
        let mut out = room(N * small * small * inner);
        let values = wide.len() + out.len() + 9 * inner;
        machine.report(&format!("  its depthwise 3x3 alone, {inner}"), 18 * out.len(), values, || {
            depthwise.run(&wide, [N, side, side], None, Limits::RELU6, &mut out);
        });
    }
    println!();
    for [input, output, kernel, stride, side] in DENSE {
        let shape = Shape { input, output, kernel, stride };
        let (size, to) = ([N, side, side], shape.out(side));
        let (x, grad) = (numbers(N * side * side * input), numbers(N * to * to * output));
        let weight = numbers(output * shape.window());
        let gradient = Gradient { level, shape, size, grad: &grad };
        let operations = 2 * grad.len() * shape.window();
        let values = x.len() + weight.len() + grad.len();
        let name = format!("{kernel}x{kernel} stride {stride}, {side}x{side}, {input} to {output}");
        machine.report(&format!("{name}: weight's"), operations, values, || {
            drop(gradient.weight(&x, None));
        });
        let mut out = room(x.len());
        machine.report("  and input's gradient", operations, values, || {
            gradient.input(&weight, None, &mut out);
        });
    }
    println!();
    for [_, channels, _, stride, side] in BLOCKS {
        let shape = Shape { input: channels, output: channels, kernel: 3, stride };
        let (size, to) = ([N, side, side], shape.out(side));
        let (x, grad) = (numbers(N * side * side * channels), numbers(N * to * to * channels));
        let weight = numbers(shape.window());
        let gradient = Gradient { level, shape, size, grad: &grad };
        let (operations, values) = (18 * grad.len(), x.len() + grad.len());
        let name = format!("depthwise 3x3 stride {stride}, {side}x{side}, {channels}: weight's");
        machine.report(&name, operations, values, || drop(gradient.depthwise_weight(&x)));
        let mut out = room(x.len());
        machine.report("  and input's gradient", operations, values, || {
            gradient.depthwise_input(&weight, &mut out);
        });
    }
    println!();
    for c in [32, 64] {
        let search = Search { n: N - 1, h: 28, w: 28, c, patch: 15 };
        let map = numbers(search.n * 28 * 28 * c);
        let positions = search.n * 28 * 28;
        let estimate = Displacement::with_level(level, 15, 1.0, Some(5.0));
        let mut maps = [vec![0.0; 2 * positions], vec![0.0; positions], vec![0.0; positions]];
        let mut scores = vec![0.0; positions * 225];
        let operations = 2 * positions * 225 * c;
        machine.report(
            &format!("correlation 15x15, 28x28, {c} channels"),
            operations,
            2 * map.len() + scores.len(),
            || {
                search.run_with_level(level, &map, &map, &mut scores);
            },
        );
        machine.report(
            &format!("  with its displacement, {c} channels"),
            operations + EXP * positions * 225,
            2 * map.len(),
            || {
                let [displacement, confidence, argmax] = &mut maps;
                estimate.search(&search, &map, &map, Found { displacement, confidence, argmax });
            },
        );
    }
}
