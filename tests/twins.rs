//! Does every operation on the graphics card give what its twin on the processor gives?
//!
//! The same numbers through both, over shapes that are 1, odd, and no multiple of what a kernel works on at a time.
//! Sums of up to a few thousand products near 1 round to about 1e-5 in f32; the tolerance leaves room for any order
//! of summation, relative to the largest value. Natively and, by `tests/browser/rust.spec.js`, in a browser.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use motion_net::backend::{
    Activation, Backend, ConvInput, ConvParameters, ConvSpec, NormParameters, Statistics,
};
use motion_net::{CpuBackend, Error, Estimation, Estimator, GpuBackend, HostTensor};
use motionlens_tests::compare::{Report, compare};
use motionlens_tests::random::tensor as random;
use motionlens_tests::{async_test, gpu, now, say};

const TOLERANCE: f32 = 2e-5;

fn judge(report: &mut Report, kind: &str, case: &str, twin: &HostTensor, found: &HostTensor) {
    judge_within(TOLERANCE, report, kind, case, twin, found);
}

/// The same with another tolerance, relative to the largest value.
fn judge_within(
    tolerance: f32,
    report: &mut Report,
    kind: &str,
    case: &str,
    twin: &HostTensor,
    found: &HostTensor,
) {
    let largest = twin.data.iter().fold(1.0_f32, |most, v| most.max(v.abs()));
    report.add(kind, case, compare(found, twin, tolerance * largest, |_| false));
}

/// Evaluates `$run`, a `Result` of a tensor, with `$b` as either backend, and compares.
macro_rules! twins {
    ($report:ident, $gpu:ident, $kind:expr, $case:expr, |$b:ident| $run:expr) => {{
        let on_cpu = {
            let $b = &CpuBackend::new();
            let run = || -> motion_net::Result<_> { $run };
            $b.read(&run().unwrap()).await.unwrap()
        };
        let on_gpu = {
            let $b = &$gpu;
            let run = || -> motion_net::Result<_> { $run };
            $b.read(&run().unwrap()).await.unwrap()
        };
        judge(&mut $report, $kind, $case, &on_cpu, &on_gpu);
    }};
}

fn finish(report: &Report) {
    say(&report.to_string());
    report.judge();
}

/// A layer with every part that a layer can have.
fn layer<B: Backend>(b: &B, spec: ConvSpec) -> motion_net::Result<B::Conv> {
    let ConvSpec { input, output, kernel, depthwise, .. } = spec;
    let inputs = if depthwise { 1 } else { input };
    // As far from 1 as a trained layer's sum of products.
    let scale = 2.0 / ((inputs * kernel * kernel) as f32).sqrt();
    let mut weight = random(&[output, inputs, kernel, kernel], 1);
    weight.data.iter_mut().for_each(|w| *w *= scale);
    let vector = |seed, offset: f32| {
        let mut vector = random(&[output], seed);
        vector.data.iter_mut().for_each(|v| *v = 0.4 * *v + offset);
        b.parameter(vector)
    };
    let norm = NormParameters {
        scale: vector(2, 1.0)?,
        shift: vector(3, 0.1)?,
        mean: vector(4, 0.0)?,
        variance: vector(5, 0.8)?,
    };
    let parameters =
        ConvParameters { weight: b.parameter(weight)?, bias: Some(vector(6, 0.0)?), norm: Some(norm) };
    b.conv(spec, parameters)
}

fn spec(kernel: usize, stride: usize, input: usize, output: usize, activation: Activation) -> ConvSpec {
    ConvSpec { input, output, kernel, stride, depthwise: false, activation }
}

/// One layer on one input, with what may flow beside it.
fn convolve<B: Backend>(
    b: &B,
    spec: ConvSpec,
    [n, h, w]: [usize; 3],
    shift: Option<usize>,
    residual: bool,
) -> motion_net::Result<B::Tensor> {
    let conv = layer(b, spec)?;
    let x = b.upload(&random(&[n, h, w, spec.input], 7))?;
    let out = [n, h.div_ceil(spec.stride), w.div_ceil(spec.stride), spec.output];
    let beside = residual.then(|| b.upload(&random(&out, 8))).transpose()?;
    let input = ConvInput { x: &x, shift, residual: beside.as_ref(), statistics: Statistics::Running };
    b.conv2d(&conv, input)
}

#[async_test]
async fn convolutions() {
    let Some(gpu) = gpu().await else { return };
    let mut report = Report::default();
    use Activation::{None as Linear, Relu, Relu6};
    let shapes = [
        (spec(1, 1, 1, 1, Linear), [1, 1, 1]),
        (spec(1, 1, 3, 5, Relu), [2, 3, 5]),
        (spec(1, 1, 64, 64, Relu), [3, 7, 7]),
        (spec(1, 2, 33, 70, Linear), [2, 5, 9]),
        (spec(1, 1, 130, 24, Relu6), [1, 13, 11]),
        (spec(1, 1, 24, 130, Relu6), [5, 3, 1]),
        (spec(3, 1, 1, 1, Linear), [1, 1, 1]),
        (spec(3, 1, 2, 3, Relu), [1, 2, 1]),
        (spec(3, 1, 16, 20, Relu), [4, 9, 6]),
        (spec(3, 2, 16, 66, Linear), [2, 8, 8]),
        (spec(3, 2, 5, 7, Relu6), [3, 7, 5]),
        (spec(3, 1, 64, 64, Relu), [2, 14, 14]),
        (spec(7, 2, 3, 64, Relu), [2, 17, 33]),
        (spec(7, 1, 4, 9, Linear), [1, 5, 3]),
        (spec(5, 3, 6, 6, Relu), [1, 11, 10]),
    ];
    for (turn, &form) in gpu.forms().iter().enumerate() {
        gpu.force_form(Some(form));
        // A browser's adapter on the processor compiles for two seconds for each of them: there they take turns.
        let in_turn =
            |i: usize| !cfg!(target_arch = "wasm32") || (i + turn).is_multiple_of(gpu.forms().len());
        for (i, (spec, size)) in shapes.into_iter().enumerate().filter(|&(i, _)| in_turn(i)) {
            for residual in [false, true] {
                if cfg!(target_arch = "wasm32") && residual == i.is_multiple_of(2) {
                    continue;
                }
                let case = format!("{spec:?} at {size:?}, residual {residual}");
                twins!(report, gpu, &format!("conv2d {form:?}"), &case, |b| {
                    convolve(b, spec, size, None, residual)
                });
            }
        }
        // Folds of whole quads are shifted where they are loaded, others before.
        let clips = [(32, 6, 3), (64, 4, 4), (96, 5, 1), (24, 4, 2), (8, 3, 3), (64, 4, 2)];
        for (i, (channels, n, frames)) in clips.into_iter().enumerate() {
            for kernel in [1, 3].into_iter().filter(|kernel| in_turn(i + kernel / 2)) {
                let spec = spec(kernel, 1, channels, 12, Relu);
                let case = format!("{spec:?}, clips of {frames} in {n}");
                twins!(report, gpu, &format!("shifted conv2d {form:?}"), &case, |b| {
                    convolve(b, spec, [n, 5, 3], Some(frames), true)
                });
            }
        }
    }
    finish(&report);
}

#[async_test]
async fn depthwise_convolutions() {
    let Some(gpu) = gpu().await else { return };
    let mut report = Report::default();
    for (kernel, stride, channels, size) in [
        (3, 1, 1, [1, 1, 1]),
        (3, 1, 7, [2, 5, 3]),
        (3, 1, 32, [3, 14, 14]),
        (3, 2, 24, [2, 9, 7]),
        (3, 2, 65, [1, 4, 10]),
        (7, 1, 3, [2, 6, 11]),
        (7, 1, 6, [1, 1, 2]),
        (5, 3, 10, [1, 8, 8]),
    ] {
        let spec =
            ConvSpec { depthwise: true, ..spec(kernel, stride, channels, channels, Activation::Relu6) };
        for residual in [false, true] {
            let case = format!("{spec:?} at {size:?}, residual {residual}");
            twins!(report, gpu, "depthwise", &case, |b| convolve(b, spec, size, None, residual));
        }
    }
    let spec = ConvSpec { depthwise: true, ..spec(3, 1, 16, 16, Activation::None) };
    twins!(report, gpu, "depthwise", "shifted", |b| convolve(b, spec, [4, 3, 3], Some(2), false));
    finish(&report);
}

#[async_test]
async fn pools_means_and_frames() {
    let Some(gpu) = gpu().await else { return };
    let mut report = Report::default();
    for shape in [
        [1, 1, 1, 1],
        [2, 2, 3, 5],
        [3, 7, 8, 33],
        [6, 9, 4, 16],
        [4, 1, 6, 2],
        [2, 3, 3, 130],
        [12, 28, 28, 8],
    ] {
        let (x, other, case) = (random(&shape, 10), random(&shape, 11), format!("{shape:?}"));
        twins!(report, gpu, "upload", &case, |b| b.upload(&x));
        twins!(report, gpu, "max_pool", &case, |b| b.max_pool(&b.upload(&x)?));
        twins!(report, gpu, "unit_length", &case, |b| b.unit_length(&b.upload(&x)?));
        twins!(report, gpu, "global_mean", &case, |b| b.global_mean(&b.upload(&x)?));
        twins!(report, gpu, "dropout", &case, |b| b.dropout(&b.upload(&x)?, 0.0));
        twins!(report, gpu, "add", &case, |b| b.add(&b.upload(&x)?, &b.upload(&other)?));
        twins!(report, gpu, "multiply", &case, |b| b.multiply(&b.upload(&x)?, &b.upload(&other)?));
        for frames in [2, 3, 4, 6].into_iter().filter(|frames| shape[0] % frames == 0) {
            let case = format!("{shape:?} in clips of {frames}");
            twins!(report, gpu, "frame_pairs", &case, |b| Ok(b.frame_pairs(&b.upload(&x)?, frames)?.0));
            twins!(report, gpu, "frame_pairs", &case, |b| Ok(b.frame_pairs(&b.upload(&x)?, frames)?.1));
            if shape[3] % 8 == 0 {
                twins!(report, gpu, "temporal_shift", &case, |b| b.temporal_shift(&b.upload(&x)?, frames));
            }
        }
        for frames in [2, 3, 5].into_iter().filter(|frames| shape[0] % (frames - 1) == 0) {
            let case = format!("{shape:?} to clips of {frames}");
            twins!(report, gpu, "repeat_last", &case, |b| b.repeat_last(&b.upload(&x)?, frames));
        }
        for channels in [1, 2, 3, 4, 9] {
            let [n, h, w, _] = shape;
            let (beside, case) = (random(&[n, h, w, channels], 12), format!("{shape:?} and {channels}"));
            twins!(report, gpu, "concat", &case, |b| {
                let (x, beside) = (b.upload(&x)?, b.upload(&beside)?);
                b.concat(&[&beside, &x, &beside])
            });
        }
    }
    for (n, inputs, outputs, frames) in [(6, 5, 4, 3), (1, 1, 1, 1), (8, 130, 174, 4)] {
        let (x, weight) = (random(&[n, inputs], 13), random(&[outputs, inputs], 14));
        let (bias, case) = (random(&[outputs], 15), format!("{n}x{inputs} to {outputs}"));
        twins!(report, gpu, "linear", &case, |b| {
            let linear = b.linear(b.parameter(weight.clone())?, b.parameter(bias.clone())?)?;
            b.linear_forward(&linear, &b.upload(&x)?)
        });
        twins!(report, gpu, "frame_mean", &case, |b| b.frame_mean(&b.upload(&x)?, frames));
    }
    finish(&report);
}

#[async_test]
async fn correlation_and_displacement() {
    let Some(gpu) = gpu().await else { return };
    let mut report = Report::default();
    for ([n, h, w, c], patch) in [
        ([1, 1, 1, 1], 3),
        ([2, 3, 5, 4], 3),
        ([1, 9, 4, 7], 5),
        ([3, 4, 11, 16], 15),
        ([2, 17, 3, 33], 9),
        ([1, 5, 6, 9], 31),
        ([1, 2, 3, 4], 63),
    ] {
        let unit = |seed| {
            let b = CpuBackend::new();
            now(b.read(&b.unit_length(&b.upload(&random(&[n, h, w, c], seed)).unwrap()).unwrap())).unwrap()
        };
        let (first, second) = (unit(20), unit(21));
        let case = format!("{n}x{h}x{w}x{c}, patch {patch}");
        twins!(report, gpu, "correlation", &case, |b| {
            b.correlation(&b.upload(&first)?, &b.upload(&second)?, patch)
        });
        for estimator in [Estimator::Kernel, Estimator::Soft] {
            for (sigma, temperature) in [(5.0, 0.01), (1.7, 1.0)] {
                let estimation = Estimation { estimator, patch, sigma, temperature };
                let case = format!("{case}, {estimation:?}");
                macro_rules! part {
                    ($part:ident) => {
                        twins!(report, gpu, stringify!($part), &case, |b| {
                            let (first, second) = (b.upload(&first)?, b.upload(&second)?);
                            Ok(b.match_frames(&first, &second, &estimation)?.$part)
                        });
                        twins!(report, gpu, concat!(stringify!($part), " of scores"), &case, |b| {
                            let (first, second) = (b.upload(&first)?, b.upload(&second)?);
                            Ok(b.displacement(&b.correlation(&first, &second, patch)?, &estimation)?.$part)
                        });
                    };
                }
                part!(displacement);
                part!(confidence);
                part!(argmax);
            }
        }
    }
    finish(&report);
}

/// Settings at the edge of f32 give numbers, not NaN; a map of zeros gives no movement.
#[async_test]
async fn extreme_settings_stay_numbers() {
    let Some(b) = gpu().await else { return };
    let still = b.upload(&HostTensor::new([1, 4, 5, 6], vec![0.0; 120]).unwrap()).unwrap();
    let moving = b.unit_length(&b.upload(&random(&[1, 4, 5, 6], 31)).unwrap()).unwrap();
    for (sigma, temperature) in [(1e-200, 1e-300), (1e200, 1e-45), (1e-3, 1e30), (5.0, 1e300)] {
        for estimator in [Estimator::Kernel, Estimator::Soft] {
            for x in [&still, &moving] {
                let estimation = Estimation { estimator, patch: 5, sigma, temperature };
                let found = b.match_frames(x, x, &estimation).unwrap();
                let data = b.read(&found.displacement).await.unwrap().data;
                assert!(data.iter().all(|d| d.abs() <= 1.0 + 1e-6), "{estimation:?}: {data:?}");
            }
        }
    }
    let found = b.match_frames(&still, &still, &Estimation::default()).unwrap();
    assert!(b.read(&found.displacement).await.unwrap().data.iter().all(|d| d.abs() < 1e-6));
}

/// The comparison can fail: one element in the middle of a real result is spoilt.
#[async_test]
async fn a_spoilt_element_is_noticed() {
    let Some(b) = gpu().await else { return };
    let spec = spec(3, 1, 16, 20, Activation::Relu);
    let found = b.read(&convolve(&b, spec, [2, 5, 3], None, false).unwrap()).await.unwrap();
    let passes = |spoilt: &HostTensor| {
        let mut report = Report::default();
        judge(&mut report, "conv2d", "spoilt", &found, spoilt);
        report.verdict().is_ok()
    };
    assert!(passes(&found));
    let middle = found.data.len() / 2;
    for value in [found.data[middle] + 1e-3, f32::NAN] {
        let mut spoilt = found.clone();
        spoilt.data[middle] = value;
        assert!(!passes(&spoilt), "{value}");
    }
}

/// Buffers are used again: many steps take no more memory than a few.
#[async_test]
async fn activations_are_reused() {
    let Some(b) = gpu().await else { return };
    let spec = spec(3, 1, 16, 16, Activation::Relu);
    let conv = layer(&b, spec).unwrap();
    let mut x = b.upload(&random(&[2, 30, 30, 16], 7)).unwrap();
    let mut step = || x = b.conv2d(&conv, ConvInput::new(&x, Statistics::Running)).unwrap();
    (0..3).for_each(|_| step());
    let few = b.memory();
    (0..200).for_each(|_| step());
    assert_eq!(b.memory(), few);
    assert!(b.read(&x).await.unwrap().data.iter().all(|v| v.is_finite()));
}

/// Whatever does not fit is refused in words that name the operation; what the card does not do is said.
#[async_test]
async fn misfits_are_refused() {
    let Some(b) = gpu().await else { return };
    let x = |shape: &[usize]| b.upload(&random(shape, 1)).unwrap();
    let (map, flat) = (x(&[2, 3, 4, 8]), x(&[2, 8]));
    let estimation = Estimation::default();
    let conv = layer(&b, spec(3, 1, 8, 4, Activation::None)).unwrap();
    let run = |x: &_| b.conv2d(&conv, ConvInput::new(x, Statistics::Running)).map(|_| ());
    let beside = |shift, residual| {
        b.conv2d(&conv, ConvInput { x: &map, shift, residual, statistics: Statistics::Running }).map(|_| ())
    };
    let misfits: Vec<(&str, motion_net::Result<()>)> = vec![
        ("conv2d", run(&x(&[2, 3, 4, 7]))),
        ("conv2d", run(&flat)),
        ("residual", beside(None, Some(&x(&[2, 3, 4, 5])))),
        ("temporal_shift", beside(Some(3), None)),
        ("conv", layer(&b, spec(2, 1, 8, 8, Activation::None)).map(|_| ())),
        ("conv", layer(&b, spec(3, 0, 8, 8, Activation::None)).map(|_| ())),
        ("max_pool", b.max_pool(&flat).map(|_| ())),
        ("unit_length", b.unit_length(&flat).map(|_| ())),
        ("temporal_shift", b.temporal_shift(&map, 3).map(|_| ())),
        ("temporal_shift", b.temporal_shift(&x(&[2, 3, 4, 7]), 2).map(|_| ())),
        ("frame_pairs", b.frame_pairs(&map, 1).map(|_| ())),
        ("correlation", b.correlation(&map, &x(&[2, 3, 4, 9]), 3).map(|_| ())),
        ("correlation", b.correlation(&map, &map, 4).map(|_| ())),
        ("match_frames", b.match_frames(&map, &flat, &estimation).map(|_| ())),
        ("displacement", b.displacement(&map, &estimation).map(|_| ())),
        ("repeat_last", b.repeat_last(&map, 0).map(|_| ())),
        ("add", b.add(&map, &flat).map(|_| ())),
        ("multiply", b.multiply(&map, &flat).map(|_| ())),
        ("concat", b.concat(&[&map, &x(&[2, 3, 5, 8])]).map(|_| ())),
        ("global_mean", b.global_mean(&flat).map(|_| ())),
        ("linear", b.linear(random(&[4], 1), random(&[4], 1)).map(|_| ())),
        ("linear", b.linear(random(&[4, 8], 1), random(&[5], 1)).map(|_| ())),
        ("frame_mean", b.frame_mean(&flat, 3).map(|_| ())),
        ("tensor", b.upload(&HostTensor { shape: vec![2, 2], data: vec![0.0] }).map(|_| ())),
        ("tensor", b.upload(&HostTensor { shape: vec![2, 0], data: vec![] }).map(|_| ())),
    ];
    for (i, (operation, result)) in misfits.into_iter().enumerate() {
        match result {
            Err(Error::Shape { operation: found, .. }) => assert!(found.contains(operation), "{i}: {found}"),
            other => panic!("{i}: {operation} gave {other:?}"),
        }
    }
    let batch = b.conv2d(&conv, ConvInput::new(&map, Statistics::Batch)).unwrap_err().to_string();
    let dropout = b.dropout(&map, 0.5).unwrap_err().to_string();
    for message in [batch, dropout] {
        assert!(message.contains("train on the cpu"), "{message}");
    }
    assert!(matches!(b.concat(&[]), Err(Error::Backend { .. })));
    // All of that was refused before the device saw it.
    run(&map).unwrap();
}

/// More memory than any device has is an error of ours, and the backend goes on.
#[async_test]
async fn too_much_memory_is_an_error() {
    let Some(b) = gpu().await else { return };
    let small = b.upload(&random(&[1, 2, 2, 1], 1)).unwrap();
    let conv = layer(&b, spec(1, 1, 1, 16384, Activation::None)).unwrap();
    let wide = b.upload(&random(&[1, 700, 700, 1], 1)).unwrap();
    let error = b.conv2d(&conv, ConvInput::new(&wide, Statistics::Running)).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("out of memory"), "{error}");
    let y = b.conv2d(&conv, ConvInput::new(&small, Statistics::Running)).unwrap();
    assert_eq!(b.read(&y).await.unwrap().data.len(), 4 * 16384);
}

/// A device that is taken away gives errors, at once and for good; never zeros.
#[async_test]
async fn a_lost_device_is_an_error() {
    let Some(b) = gpu().await else { return };
    let x = b.upload(&random(&[1, 3, 3, 4], 1)).unwrap();
    b.destroy();
    let lost = |error: Error| {
        assert!(matches!(error, Error::Backend { backend: "gpu", .. }), "{error}");
        assert!(error.to_string().contains("device"), "{error}");
    };
    for _ in 0..2 {
        lost(b.read(&x).await.unwrap_err());
        let pooled = async { b.read(&b.max_pool(&x)?).await };
        lost(pooled.await.unwrap_err());
    }
    lost(b.upload(&random(&[1], 1)).map(|_| ()).unwrap_err());
    // Another device does not mind.
    let other: GpuBackend = gpu().await.unwrap();
    let x = other.upload(&random(&[1, 3, 3, 4], 1)).unwrap();
    assert_eq!(other.read(&x).await.unwrap(), random(&[1, 3, 3, 4], 1));
}

/// Measuring picks forms, changes no result, and is taken over only by the adapter that it was made on.
#[async_test]
async fn tuning_changes_no_result() {
    let Some(b) = gpu().await else { return };
    if !b.has_times() {
        say(&format!("skipped: the adapter {} has no clock", b.adapter()));
        return;
    }
    let spec = spec(3, 2, 16, 66, Activation::Relu);
    let run = async || b.read(&convolve(&b, spec, [2, 9, 8], None, true).unwrap()).await.unwrap();
    let before = run().await;
    assert_eq!(b.tune(|| false).await.unwrap(), 0, "no time for any");
    assert_eq!(b.tune(|| true).await.unwrap(), 1);
    assert_eq!(b.tune(|| true).await.unwrap(), 0, "measured once");
    let mut report = Report::default();
    judge(&mut report, "conv2d", "after tuning", &before, &run().await);
    report.judge();
    let json = b.tuning();
    assert!(json.contains("3x3/2 16 to 66 at 2x9x8"), "{json}");
    let other = gpu().await.unwrap();
    assert!(other.set_tuning(&json) && other.tuning() == json);
    assert!(!other.set_tuning(&json.replace("shaders ", "other shaders ")) && !other.set_tuning("{}"));
}

/// Weights in 16 bits keep 11 bits of each: sums of n such products are off by about 2^-11 / sqrt(n) of the largest.
/// Not in the browser of the tests, whose SwiftShader has no such numbers.
#[cfg(not(target_arch = "wasm32"))]
#[async_test]
async fn weights_in_half_the_bytes() {
    const HALF: f32 = 1e-3;
    let b = match GpuBackend::open_with(None, motion_net::gpu::Precision::F16).await {
        Ok(b) => b,
        Err(error) => return say(&format!("skipped: {error}")),
    };
    let spec_of = |kernel, stride, input, output| spec(kernel, stride, input, output, Activation::Relu);
    let depthwise = ConvSpec { depthwise: true, ..spec_of(3, 1, 1, 1) };
    let cases = [
        (depthwise, [1, 1, 1]),
        (ConvSpec { input: 7, output: 7, ..depthwise }, [2, 5, 3]),
        (spec_of(1, 1, 1, 1), [1, 1, 1]),
        (spec_of(1, 1, 130, 24), [1, 13, 11]),
        (spec_of(3, 1, 64, 64), [2, 14, 14]),
        (spec_of(7, 2, 3, 64), [2, 17, 33]),
    ];
    let mut report = Report::default();
    for &form in b.forms() {
        b.force_form(Some(form));
        for (spec, size) in cases {
            let read = async |y: Result<_, Error>| b.read(&y.unwrap()).await.unwrap();
            let found = read(convolve(&b, spec, size, None, true)).await;
            let cpu = CpuBackend::new();
            let twin = cpu.read(&convolve(&cpu, spec, size, None, true).unwrap()).await.unwrap();
            let (kind, case) = (format!("conv2d {form:?}, f16"), format!("{spec:?} at {size:?}"));
            judge_within(HALF, &mut report, &kind, &case, &twin, &found);
            // It is another number where more than one product is added up: f16 was used.
            assert!(found.data != twin.data || spec.input == 1, "{case}");
        }
    }
    finish(&report);
}

/// A rehearsal computes nothing, and takes down what there is to measure.
#[async_test]
async fn a_rehearsal_takes_down_shapes() {
    let Some(b) = gpu().await else { return };
    if !b.has_times() {
        say(&format!("skipped: the adapter {} has no clock", b.adapter()));
        return;
    }
    let run = |channels| convolve(&b, spec(3, 1, channels, 9, Activation::Relu), [1, 4, 4], None, false);
    b.start_times().unwrap();
    b.rehearse(|| run(5)).unwrap();
    assert_eq!(b.times().await.unwrap(), []);
    assert_eq!(b.tune(|| true).await.unwrap(), 1);
    assert!(b.rehearse(|| run(0)).is_err());
    // Afterwards it computes.
    assert!(b.read(&run(5).unwrap()).await.unwrap().data.iter().any(|v| *v > 0.0));
}

/// Every dispatch of a pass is timed once, and says what it had to do.
#[async_test]
async fn dispatches_are_timed() {
    let Some(b) = gpu().await else { return };
    if !b.has_times() {
        say(&format!("skipped: the adapter {} has no clock", b.adapter()));
        return;
    }
    let x = b.upload(&random(&[2, 30, 30, 16], 1)).unwrap();
    b.start_times().unwrap();
    let pooled = b.max_pool(&x).unwrap();
    let mean = b.global_mean(&pooled).unwrap();
    let times = b.times().await.unwrap();
    let kernels: Vec<&str> = times.iter().map(|timed| timed.work.kernel).collect();
    assert_eq!(kernels, ["max_pool", "mean"]);
    assert!(times.iter().all(|timed| timed.nanoseconds > 0.0 && timed.work.bytes > 0), "{times:?}");
    // Afterwards nothing is timed, and the results are there.
    assert_eq!(b.times().await.unwrap(), []);
    assert_eq!(b.read(&mean).await.unwrap().shape, [2, 16]);
    let peak = b.peak().await.unwrap();
    assert!(peak.operations > 0.0 && peak.operations.is_finite() && peak.bytes.is_finite(), "{peak:?}");
}
