//! How fast are the CPU backend's operations? Prints a table: time, and arithmetic per second. The time is the
//! fastest of the runs: whatever else the machine does only adds to it.
//!
//! `cargo run --release -p motion-net --example ops`
#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::time::Instant;

use candle_core::{Device, Tensor, Var};
use motion_net::backend::{
    Activation, Backend, ConvInput, ConvParameters, ConvSpec, NormParameters, Statistics,
};
use motion_net::{CpuBackend, Estimation, Result};

/// Milliseconds of the fastest of some runs.
fn time(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    work()?;
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < 5 || (start.elapsed().as_secs_f64() < 0.4 && times.len() < 200) {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times.into_iter().fold(f64::INFINITY, f64::min))
}

fn random(shape: &[usize]) -> Result<Tensor> {
    Ok(Tensor::randn(0.0_f32, 1.0, shape, &Device::Cpu)?)
}

fn parameters(spec: ConvSpec, learnt: bool) -> Result<ConvParameters<Tensor>> {
    let taps = if spec.depthwise { 1 } else { spec.input };
    let make = |tensor: Tensor| -> Result<Tensor> {
        Ok(if learnt { Var::from_tensor(&tensor)?.into_inner() } else { tensor })
    };
    let fan_in = (taps * spec.kernel * spec.kernel) as f64;
    Ok(ConvParameters {
        weight: make((random(&[spec.output, taps, spec.kernel, spec.kernel])? / fan_in.sqrt())?)?,
        bias: None,
        norm: Some(NormParameters {
            scale: make(random(&[spec.output])?)?,
            shift: make(random(&[spec.output])?)?,
            mean: make(random(&[spec.output])?)?,
            variance: make(random(&[spec.output])?.sqr()?)?,
        }),
    })
}

fn main() -> Result<()> {
    let b = CpuBackend::new();
    println!(
        "convolution with its norm and activation; training = forward and backward with batch statistics"
    );
    let dense = |input, output, kernel, stride| ConvSpec {
        input,
        output,
        kernel,
        stride,
        depthwise: false,
        activation: Activation::Relu,
    };
    let depthwise = |channels, kernel, stride| ConvSpec {
        depthwise: true,
        activation: Activation::Relu6,
        ..dense(channels, channels, kernel, stride)
    };
    for (size, spec) in [
        (224, dense(3, 64, 7, 2)),
        (56, dense(64, 64, 3, 1)),
        (28, dense(128, 128, 3, 1)),
        (7, dense(512, 512, 3, 1)),
        (112, dense(32, 16, 1, 1)),
        (28, dense(192, 32, 1, 1)),
        (28, dense(32, 192, 1, 1)),
        (7, dense(960, 320, 1, 1)),
        (112, depthwise(32, 3, 1)),
        (112, depthwise(96, 3, 2)),
        (28, depthwise(192, 3, 1)),
        (28, depthwise(3, 7, 1)),
        (7, depthwise(960, 3, 1)),
    ] {
        let x = random(&[8, size, size, spec.input])?;
        let conv = b.conv(spec, parameters(spec, false)?)?;
        let infer = time(|| b.conv2d(&conv, ConvInput::new(&x, Statistics::Running)).map(|_| ()))?;
        let conv = b.conv(spec, parameters(spec, true)?)?;
        let x = Var::from_tensor(&x)?;
        let train = time(|| {
            let y = b.conv2d(&conv, ConvInput::new(&x, Statistics::Batch))?;
            y.sum_all()?.backward()?;
            Ok(())
        })?;
        let side = (size - 1) / spec.stride + 1;
        let taps = spec.kernel.pow(2) * if spec.depthwise { 1 } else { spec.input };
        let gflop = 2.0 * (8 * side * side * spec.output * taps) as f64 / 1e9;
        println!(
            "{:>9} {}x{}/{} {:>3} -> {:>3} at 8x{size}x{size}: {infer:8.3} ms {:6.1} GFLOP/s  training {train:8.3} ms {:6.1} GFLOP/s",
            if spec.depthwise { "depthwise" } else { "dense" },
            spec.kernel,
            spec.kernel,
            spec.stride,
            spec.input,
            spec.output,
            gflop / infer * 1e3,
            3.0 * gflop / train * 1e3,
        );
    }
    let (first, second) = (random(&[7, 28, 28, 64])?, random(&[7, 28, 28, 64])?);
    let (first, second) = (b.unit_length(&first)?, b.unit_length(&second)?);
    let estimation = Estimation::default();
    println!("motion of 7 pairs at 28x28x64, patch 15");
    println!("  correlation   {:8.3} ms", time(|| b.correlation(&first, &second, 15).map(|_| ()))?);
    let scores = b.correlation(&first, &second, 15)?;
    println!("  displacement  {:8.3} ms", time(|| b.displacement(&scores, &estimation).map(|_| ()))?);
    println!("  match_frames  {:8.3} ms", time(|| b.match_frames(&first, &second, &estimation).map(|_| ()))?);
    let (first, second) = (Var::from_tensor(&first)?, Var::from_tensor(&second)?);
    let train = time(|| {
        let found = b.match_frames(&first, &second, &estimation)?;
        (found.displacement.sum_all()? + found.confidence.sum_all()?)?.backward()?;
        Ok(())
    })?;
    println!("  forward and backward {train:8.3} ms");
    let x = random(&[8, 56, 56, 64])?;
    println!("others at 8x56x56x64");
    println!("  temporal_shift {:8.3} ms", time(|| b.temporal_shift(&x, 8).map(|_| ()))?);
    println!("  max_pool       {:8.3} ms", time(|| b.max_pool(&x).map(|_| ()))?);
    println!("  unit_length    {:8.3} ms", time(|| b.unit_length(&x).map(|_| ()))?);
    println!("  global_mean    {:8.3} ms", time(|| b.global_mean(&x).map(|_| ()))?);
    println!("  add            {:8.3} ms", time(|| b.add(&x, &x).map(|_| ()))?);
    Ok(())
}
