//! Is the gradient of every operation the slope of the operation itself?
//!
//! Autograd's derivative of a random weighted sum of the outputs is held against central differences, which run
//! the operation's other path too: without variables the CPU backend fuses passes and keeps no graph. Candle's own
//! operations, which are to train on a graphics card, are held to the same on the CPU.
//!
//! Numbers are f32. A step of 2^-7 loses about 1e-6 / 2^-7 = 1.3e-4 of the slope to rounding (some 1e-6 for the
//! sum), and h^2/6 = 1e-5 times the third derivative to curvature; 2e-3 of the largest slope leaves room for both
//! and is far below what any wrong term would cost. Elements with a kink within reach (a ReLU, another maximum)
//! are not judged, and few may be: see `Case::slope`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{Device, Tensor, Var};
use motion_net::backend::{Activation, ConvInput, ConvParameters, ConvSpec, NormParameters, Statistics};
use motion_net::{CandleBackend, CpuBackend, Estimation, Estimator, Result, Training};
use motionlens_tests::random::{self, Random};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const STEP: f32 = 1.0 / 128.0;
const TOLERANCE: f64 = 2e-3;
/// Elements of each input that are judged; all of a small one.
const JUDGED: usize = 48;

/// An operation as a function of tensors.
type Operation = Box<dyn Fn(&[Tensor]) -> Result<Vec<Tensor>>>;

struct Case {
    name: String,
    inputs: Vec<Tensor>,
    operation: Operation,
}

impl Case {
    fn new(
        name: impl Into<String>,
        inputs: Vec<Tensor>,
        operation: impl Fn(&[Tensor]) -> Result<Vec<Tensor>> + 'static,
    ) -> Self {
        Self { name: name.into(), inputs, operation: Box::new(operation) }
    }

    /// One weight for each output value, so that no two outputs can stand in for each other.
    fn weights(&self) -> Vec<Tensor> {
        let outputs = (self.operation)(&self.inputs).unwrap();
        outputs.iter().enumerate().map(|(i, y)| random(y.dims(), 1000 + i as u64)).collect()
    }

    /// Autograd's gradient of the weighted sum, for each input.
    fn autograd(&self, weights: &[Tensor]) -> Vec<Vec<f32>> {
        let variables: Vec<Var> = self.inputs.iter().map(|x| Var::from_tensor(x).unwrap()).collect();
        let inputs: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
        let outputs = (self.operation)(&inputs).unwrap();
        let sum = outputs
            .iter()
            .zip(weights)
            .map(|(y, weight)| (y * weight).unwrap().sum_all().unwrap())
            .reduce(|a, b| (a + b).unwrap())
            .unwrap();
        let gradients = sum.backward().unwrap();
        variables
            .iter()
            .map(|v| {
                let gradient =
                    gradients.get(v).unwrap_or_else(|| panic!("{}: a gradient is lost", self.name));
                assert_eq!(gradient.dims(), v.dims(), "{}: shape of a gradient", self.name);
                flat(gradient)
            })
            .collect()
    }

    /// The weighted sum itself, with one value of one input moved.
    fn value(&self, weights: &[Tensor], input: usize, element: usize, step: f32) -> f64 {
        let mut inputs = self.inputs.clone();
        let mut values = flat(&inputs[input]);
        values[element] += step;
        inputs[input] = Tensor::from_vec(values, inputs[input].dims(), &Device::Cpu).unwrap();
        let outputs = (self.operation)(&inputs).unwrap();
        let terms = outputs.iter().zip(weights).flat_map(|(y, weight)| {
            flat(y).into_iter().zip(flat(weight)).map(|(y, weight)| f64::from(y) * f64::from(weight))
        });
        terms.sum()
    }

    /// The slope along one value, or nothing where there is a kink within a step.
    ///
    /// Half the step gives the same slope if there is none, unless the kink is at the middle itself: then the
    /// slopes to both sides differ, and go on differing by as much at half the step, where those of a smooth
    /// curve differ by half as much.
    fn slope(&self, weights: &[Tensor], input: usize, element: usize, allowed: f64) -> Option<f64> {
        let here = self.value(weights, input, element, 0.0);
        let [whole, half] = [STEP, STEP / 2.0].map(|step| {
            let up = (self.value(weights, input, element, step) - here) / f64::from(step);
            let down = (here - self.value(weights, input, element, -step)) / f64::from(step);
            ((up + down) / 2.0, (up - down).abs())
        });
        let smooth = (whole.0 - half.0).abs() <= allowed / 2.0;
        let straight = half.1 <= allowed || half.1 <= 0.7 * whole.1;
        (smooth && straight).then_some(whole.0)
    }

    /// Every complaint about these gradients.
    fn complaints(&self, weights: &[Tensor], gradients: &[Vec<f32>]) -> Vec<String> {
        let mut complaints = Vec::new();
        let (mut judged, mut kinks) = (0, 0);
        for (input, gradient) in gradients.iter().enumerate() {
            let largest = gradient.iter().fold(1.0_f64, |most, g| most.max(f64::from(g.abs())));
            let allowed = TOLERANCE * largest;
            for element in (0..gradient.len()).step_by(gradient.len().div_ceil(JUDGED)) {
                let Some(slope) = self.slope(weights, input, element, allowed) else {
                    kinks += 1;
                    continue;
                };
                judged += 1;
                let found = f64::from(gradient[element]);
                // Asked this way round, NaN does not pass.
                let near = (found - slope).abs() <= allowed;
                if !near {
                    complaints.push(format!(
                        "{}: input {input}, element {element}: autograd {found}, differences {slope}",
                        self.name
                    ));
                }
            }
        }
        if judged < 2 * kinks || judged == 0 {
            complaints.push(format!("{}: {judged} elements judged, {kinks} at kinks", self.name));
        }
        complaints
    }

    fn check(&self) -> Vec<String> {
        let weights = self.weights();
        self.complaints(&weights, &self.autograd(&weights))
    }
}

fn flat(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// Values in -1 ... 1, the same for the same seed.
fn random(shape: &[usize], seed: u64) -> Tensor {
    Tensor::from_vec(random::tensor(shape, seed).data, shape, &Device::Cpu).unwrap()
}

/// All values at least two steps apart, so that no comparison among them changes within reach.
fn spaced(shape: &[usize], seed: u64) -> Tensor {
    let (mut numbers, count) = (Random(seed), shape.iter().product());
    let mut values: Vec<f32> = (0..count).map(|i| i as f32 * 3.0 * STEP).collect();
    for i in (1..count).rev() {
        values.swap(i, numbers.below(i + 1));
    }
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

#[derive(Clone, Copy)]
enum Norm {
    None,
    Running,
    Batch,
}

/// Sizes of a convolution: frames, height, width, channels in and out, kernel, stride.
type Sizes = [usize; 7];

fn convolution<B: Training + 'static>(
    b: fn() -> B,
    sizes: Sizes,
    depthwise: bool,
    activation: Activation,
    norm: Norm,
    residual: bool,
) -> Case {
    let [n, h, w, input, output, kernel, stride] = sizes;
    let spec = ConvSpec { input, output, kernel, stride, depthwise, activation };
    let taps = if depthwise { 1 } else { input };
    // About as large as trained ones: outputs near 1.
    let scale = 1.7 / ((taps * kernel * kernel) as f64).sqrt();
    // Large enough for ReLU6 to reach its 6, whether a norm follows or not.
    let reach = if activation == Activation::Relu6 { 4.0 } else { 1.0 };
    let mut inputs = vec![
        (random(&[n, h, w, input], 1) * reach).unwrap(),
        (random(&[output, taps, kernel, kernel], 2) * scale).unwrap(),
        random(&[output], 3),
        (random(&[output], 4) + 1.5 * reach).unwrap(),
    ];
    if residual {
        inputs.push(random(&[n, (h - 1) / stride + 1, (w - 1) / stride + 1, output], 5));
    }
    let name = match norm {
        Norm::None => "bias",
        Norm::Running => "running norm",
        Norm::Batch => "batch norm",
    };
    let name = format!("conv2d {sizes:?} depthwise {depthwise} {activation:?} {name} residual {residual}");
    Case::new(name, inputs, move |t| {
        let b = b();
        let statistic = |seed, offset| -> Result<Tensor> {
            Ok(Var::from_tensor(&(random(&[output], seed) + offset)?)?.into_inner())
        };
        let (bias, norm_parameters) = match norm {
            // The scale becomes a second bias, for it to have a gradient.
            Norm::None => (Some((&t[2] + &t[3])?), None),
            Norm::Running | Norm::Batch => {
                let (mean, variance) = (statistic(6, 0.0)?, statistic(7, 2.0)?);
                let norm = NormParameters { scale: t[3].clone(), shift: t[2].clone(), mean, variance };
                (None, Some(norm))
            }
        };
        let statistics = match norm {
            Norm::Batch => Statistics::Batch,
            Norm::None | Norm::Running => Statistics::Running,
        };
        let conv = b.conv(spec, ConvParameters { weight: t[1].clone(), bias, norm: norm_parameters })?;
        let input = ConvInput { x: &t[0], shift: None, residual: t.get(4), statistics };
        Ok(vec![b.conv2d(&conv, input)?])
    })
}

fn on_candle() -> CandleBackend {
    CandleBackend::new(Device::Cpu)
}

fn convolutions_of<B: Training + 'static>(b: fn() -> B) {
    use Activation::{None as Linear, Relu, Relu6};
    let dense: [(Sizes, Activation); 8] = [
        ([1, 1, 1, 1, 1, 1, 1], Linear),
        ([2, 5, 3, 4, 3, 1, 1], Relu),
        ([1, 7, 6, 3, 5, 3, 1], Relu6),
        ([2, 5, 7, 3, 2, 3, 2], Relu),
        ([3, 4, 5, 2, 3, 1, 2], Linear),
        ([1, 9, 11, 3, 4, 7, 2], Relu),
        ([2, 1, 2, 3, 2, 3, 1], Relu),
        // More than one band of lines, and more than one piece of a norm.
        ([2, 21, 19, 40, 33, 3, 1], Linear),
    ];
    let depthwise: [(Sizes, Activation); 7] = [
        ([1, 1, 1, 1, 1, 3, 1], Linear),
        ([2, 5, 3, 3, 3, 7, 1], Relu),
        ([1, 6, 7, 33, 33, 3, 1], Relu6),
        ([2, 7, 5, 4, 4, 3, 2], Relu),
        ([1, 2, 3, 5, 5, 3, 2], Relu6),
        ([3, 4, 4, 2, 2, 1, 1], Linear),
        ([2, 17, 16, 70, 70, 3, 2], Linear),
    ];
    let mut complaints = Vec::new();
    for (cases, depthwise) in [(&dense[..], false), (&depthwise[..], true)] {
        for &(sizes, activation) in cases {
            for norm in [Norm::None, Norm::Running, Norm::Batch] {
                let positions = sizes[0] * sizes[1].div_ceil(sizes[6]) * sizes[2].div_ceil(sizes[6]);
                if matches!(norm, Norm::Batch) && positions < 2 {
                    continue;
                }
                for residual in [false, true] {
                    complaints.extend(convolution(b, sizes, depthwise, activation, norm, residual).check());
                }
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn convolutions() {
    convolutions_of(CpuBackend::new);
}

#[test]
fn convolutions_on_candle() {
    convolutions_of(on_candle);
}

#[test]
fn everything_else() {
    everything_else_of(CpuBackend::new);
}

#[test]
fn everything_else_on_candle() {
    everything_else_of(on_candle);
}

fn everything_else_of<B: Training + 'static>(b: fn() -> B) {
    let estimation = |estimator, patch| Estimation { estimator, patch, sigma: 1.5, temperature: 0.3 };
    let mut cases = Vec::new();
    for shape in [[1, 1, 1, 2], [2, 5, 6, 3], [1, 8, 7, 5]] {
        cases.push(Case::new(format!("max_pool {shape:?}"), vec![spaced(&shape, 11)], move |t| {
            Ok(vec![b().max_pool(&t[0])?])
        }));
        cases.push(Case::new(format!("unit_length {shape:?}"), vec![random(&shape, 12)], move |t| {
            Ok(vec![b().unit_length(&t[0])?])
        }));
        cases.push(Case::new(format!("global_mean {shape:?}"), vec![random(&shape, 13)], move |t| {
            Ok(vec![b().global_mean(&t[0])?])
        }));
        let pair = || vec![random(&shape, 14), random(&shape, 15)];
        cases.push(Case::new(format!("add {shape:?}"), pair(), move |t| Ok(vec![b().add(&t[0], &t[1])?])));
        cases.push(Case::new(format!("multiply {shape:?}"), pair(), move |t| {
            Ok(vec![b().multiply(&t[0], &t[1])?])
        }));
        cases.push(Case::new(format!("concat {shape:?}"), pair(), move |t| {
            Ok(vec![b().concat(&[&t[0], &t[1], &t[0]])?])
        }));
    }
    for (shape, frames) in [([3, 2, 1, 8], 3), ([4, 1, 3, 16], 2), ([2, 3, 2, 8], 1)] {
        cases.push(Case::new(format!("temporal_shift {shape:?}"), vec![random(&shape, 16)], move |t| {
            Ok(vec![b().temporal_shift(&t[0], frames)?])
        }));
    }
    for (shape, frames) in [([3, 2, 1, 3], 3), ([4, 1, 3, 2], 2)] {
        cases.push(Case::new(format!("frame_pairs {shape:?}"), vec![random(&shape, 17)], move |t| {
            let (first, second) = b().frame_pairs(&t[0], frames)?;
            Ok(vec![first, second])
        }));
        cases.push(Case::new(format!("repeat_last {shape:?}"), vec![random(&shape, 18)], move |t| {
            Ok(vec![b().repeat_last(&t[0], frames + 1)?])
        }));
        cases.push(Case::new(format!("frame_mean {shape:?}"), vec![random(&[shape[0], 5], 19)], move |t| {
            Ok(vec![b().frame_mean(&t[0], frames)?])
        }));
    }
    for (shape, patch) in [([1, 1, 1, 3], 3), ([2, 3, 5, 4], 3), ([1, 5, 4, 9], 5), ([1, 3, 2, 2], 1)] {
        let pair = vec![random(&shape, 20), random(&shape, 21)];
        cases.push(Case::new(format!("correlation {shape:?} {patch}"), pair, move |t| {
            Ok(vec![b().correlation(&t[0], &t[1], patch)?])
        }));
    }
    for (size, patch) in [([1, 1, 1], 3), ([2, 3, 2], 3), ([1, 2, 3], 5)] {
        for estimator in [Estimator::Kernel, Estimator::Soft] {
            let estimation = estimation(estimator, patch);
            // Each position's scores are spaced by themselves, between 0 and about 1.
            let positions = size.iter().product();
            let scores: Vec<Tensor> =
                (0..positions).map(|i| spaced(&[patch * patch], 22 + i as u64)).collect();
            let scores = Tensor::stack(&scores, 0).unwrap();
            let scores = scores.reshape((size[0], size[1], size[2], patch * patch)).unwrap();
            cases.push(Case::new(format!("displacement {size:?} {estimation:?}"), vec![scores], move |t| {
                let found = b().displacement(&t[0], &estimation)?;
                Ok(vec![found.displacement, found.confidence])
            }));
        }
    }
    // The fused way without variables against the way with them. Far apart, so that the best match stays.
    let pair = vec![spaced(&[1, 3, 4, 2], 30), spaced(&[1, 3, 4, 2], 31)];
    let soft = estimation(Estimator::Soft, 3);
    cases.push(Case::new("match_frames", pair, move |t| {
        let (first, second) = (b().unit_length(&t[0])?, b().unit_length(&t[1])?);
        Ok(vec![b().match_frames(&first, &second, &soft)?.displacement])
    }));
    let linear = vec![random(&[3, 5], 32), random(&[4, 5], 33), random(&[4], 34)];
    cases.push(Case::new("linear", linear, move |t| {
        Ok(vec![b().linear_forward(&b().linear(t[1].clone(), t[2].clone())?, &t[0])?])
    }));
    // A new backend draws the same random numbers each time.
    cases.push(Case::new("dropout", vec![random(&[4, 9], 35)], move |t| Ok(vec![b().dropout(&t[0], 0.4)?])));
    // A block as the networks have it: the same tensor goes in shifted, and beside.
    let block = vec![random(&[3, 4, 5, 8], 36), (random(&[8, 8, 3, 3], 37) * 0.2).unwrap()];
    cases.push(Case::new("a block with shift and residual", block, move |t| {
        let spec = ConvSpec {
            input: 8,
            output: 8,
            kernel: 3,
            stride: 1,
            depthwise: false,
            activation: Activation::Relu,
        };
        let conv = b().conv(spec, ConvParameters { weight: t[1].clone(), bias: None, norm: None })?;
        let input =
            ConvInput { x: &t[0], shift: Some(3), residual: Some(&t[0]), statistics: Statistics::Running };
        Ok(vec![b().conv2d(&conv, input)?])
    }));
    let complaints: Vec<String> = cases.iter().flat_map(Case::check).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// The comparison can fail: one element of a right gradient is spoilt by a hundredth.
#[test]
fn a_spoilt_gradient_is_noticed() {
    let case =
        convolution(CpuBackend::new, [2, 5, 3, 4, 3, 3, 1], false, Activation::Relu, Norm::Batch, true);
    let weights = case.weights();
    let mut gradients = case.autograd(&weights);
    assert_eq!(case.complaints(&weights, &gradients), Vec::<String>::new());
    for input in 0..gradients.len() {
        let right = gradients[input].clone();
        let largest = right.iter().fold(1.0_f32, |most, g| most.max(g.abs()));
        gradients[input].iter_mut().step_by(right.len().div_ceil(JUDGED)).for_each(|g| *g += 0.01 * largest);
        assert!(!case.complaints(&weights, &gradients).is_empty(), "input {input}");
        gradients[input] = right;
    }
}

/// Batch statistics cannot be stored in tensors that are no variables, and say so.
#[test]
fn batch_statistics_want_variables() {
    batch_statistics_want_variables_of(&CpuBackend::new());
    batch_statistics_want_variables_of(&on_candle());
}

fn batch_statistics_want_variables_of<B: Training>(b: &B) {
    let one = || Tensor::ones(2, candle_core::DType::F32, &Device::Cpu).unwrap();
    let spec = ConvSpec {
        input: 2,
        output: 2,
        kernel: 1,
        stride: 1,
        depthwise: false,
        activation: Activation::None,
    };
    let norm = NormParameters { scale: one(), shift: one(), mean: one(), variance: one() };
    let weight = random(&[2, 2, 1, 1], 40);
    let conv = b.conv(spec, ConvParameters { weight, bias: None, norm: Some(norm) }).unwrap();
    let error = b.conv2d(&conv, ConvInput::new(&random(&[1, 2, 2, 2], 41), Statistics::Batch)).unwrap_err();
    assert!(error.to_string().contains("variables"), "{error}");
}

/// The stored statistics move a tenth of the way, the variance with one degree of freedom less.
#[test]
fn batch_statistics_are_stored() {
    batch_statistics_are_stored_of(&CpuBackend::new());
    batch_statistics_are_stored_of(&on_candle());
}

fn batch_statistics_are_stored_of<B: Training>(b: &B) {
    let spec = ConvSpec {
        input: 1,
        output: 1,
        kernel: 1,
        stride: 1,
        depthwise: false,
        activation: Activation::None,
    };
    let constant = |value: f32| Tensor::from_vec(vec![value], 1, &Device::Cpu).unwrap();
    let (mean, variance) =
        (Var::from_tensor(&constant(2.0)).unwrap(), Var::from_tensor(&constant(3.0)).unwrap());
    let norm = NormParameters {
        scale: constant(1.0),
        shift: constant(0.0),
        mean: mean.as_tensor().clone(),
        variance: variance.as_tensor().clone(),
    };
    let weight = constant(1.0).reshape((1, 1, 1, 1)).unwrap();
    let conv = b.conv(spec, ConvParameters { weight, bias: None, norm: Some(norm) }).unwrap();
    // Mean 4; squared distances 9, 1, 1, 9: variance 5, or 20 / 3 with one degree of freedom less.
    let x = Tensor::from_vec(vec![1.0_f32, 3.0, 5.0, 7.0], (2, 1, 2, 1), &Device::Cpu).unwrap();
    let y = b.conv2d(&conv, ConvInput::new(&x, Statistics::Batch)).unwrap();
    assert!((flat(&mean)[0] - (0.9 * 2.0 + 0.1 * 4.0)).abs() < 1e-6);
    assert!((flat(&variance)[0] - (0.9 * 3.0 + 0.1 * 20.0 / 3.0)).abs() < 1e-6);
    for (found, expected) in flat(&y).iter().zip([-3.0, -1.0, 1.0, 3.0]) {
        assert!((found - expected / (5.0_f32 + 1e-5).sqrt()).abs() < 1e-6);
    }
}
