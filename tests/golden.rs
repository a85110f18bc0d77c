//! Is it the same network as PyTorch's?
//!
//! Every module and network of `fixtures/golden`, with every intermediate that is stored there. The tables show the
//! largest difference of each kind of tensor (`cargo test --test golden -- --show-output`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use motion_net::backend::Statistics;
use motion_net::config::{Estimation, Estimator};
use motion_net::motion::MotionModule;
use motion_net::weights::Loader;
use motion_net::{Backend, CandleBackend, Config, CpuBackend, HostTensor, Match, Mode, MsNet, Step};
use motionlens_tests::compare::{Difference, Report, compare};
use motionlens_tests::golden::{self, Case, channels_first, channels_last};
use motionlens_tests::{gpu, now, repository};
use serde_json::json;

/// Ours and PyTorch's f32 results each lie within about one `f32_vs_f64` (the index has it for every tensor) of the
/// true value. We add in another order and fold each norm into its convolution, which costs some more roundings.
const ROUNDINGS: f32 = 8.0;

/// Below this margin between the two best matches, rounding decides which is taken (correlations are exact to about
/// 4e-6), and a displacement may rightly differ by cells. The seeds leave such places in `ms_ties_and_zeros` only.
const NEAR_TIE: f32 = 1e-5;

/// Stored, but inside one operation of ours (`Backend::displacement`), whose result is compared.
const INSIDE_DISPLACEMENT: [&str; 2] = ["gauss_masked", "probability"];

/// How far a backend may be from PyTorch.
#[derive(Clone, Copy)]
struct Allowed {
    /// At least so much.
    least: f32,
    near_tie: f32,
}

/// Nothing but rounding.
const ON_CPU: Allowed = Allowed { least: 0.0, near_tie: NEAR_TIE };
/// A card may fuse or split multiplications, and its exponential is good to some 1e-6.
const ON_GPU: Allowed = Allowed { least: 1e-3, near_tie: NEAR_TIE };

type Tensors = BTreeMap<String, HostTensor>;

fn tolerance(case: &Case, name: &str, allowed: Allowed) -> f32 {
    let rounding = case.rounding(name).unwrap_or(0.0);
    let largest = case.largest(name);
    // A value of this size cannot be told more exactly than that, however lucky PyTorch was.
    let rounding = ROUNDINGS * rounding.max(f32::EPSILON * largest);
    rounding.max(allowed.least)
}

/// Compares everything that the case expects; `ours` must have it all.
fn judge(case: &Case, ours: &Tensors, allowed: Allowed, report: &mut Report) {
    for name in case.expected() {
        // `ms_res3.displacement`, but not `displacement_soft_argmax_tau_0.01`.
        let in_module = name.split_once('.').filter(|(place, _)| place.starts_with("ms_"));
        let (place, kind) = in_module.unwrap_or(("", name));
        if INSIDE_DISPLACEMENT.contains(&kind) {
            continue;
        }
        let found = ours.get(name).unwrap_or_else(|| panic!("{}: nothing of ours is {name:?}", case.name));
        report.add(kind, &case.name, judge_one(case, place, kind, found, allowed));
    }
}

fn judge_one(case: &Case, place: &str, kind: &str, found: &HostTensor, allowed: Allowed) -> Difference {
    let full = |kind: &str| if place.is_empty() { kind.to_owned() } else { format!("{place}.{kind}") };
    let name = full(kind);
    let expected = case.tensor(&format!("expect.{name}"));
    let (backward, plain) = match kind.strip_prefix("backward_") {
        Some(plain) => ("backward_", plain),
        None => ("", kind),
    };
    match plain {
        "argmax" | "displacement" => {
            let margin = case.tensor(&format!("expect.{}", full(&format!("{backward}correlation_margin"))));
            let cells: usize = margin.shape[2..].iter().product();
            let channels = if plain == "argmax" { 1 } else { 2 };
            let near_tie =
                |i: usize| margin.data[i / (channels * cells) * cells + i % cells] < allowed.near_tie;
            let tolerance = if plain == "argmax" { 0.0 } else { tolerance(case, &name, allowed) };
            compare(found, expected, tolerance, near_tie)
        }
        _ => compare(found, expected, tolerance(case, &name, allowed), |_| false),
    }
}

fn read<B: Backend>(b: &B, tensor: &B::Tensor) -> HostTensor {
    now(b.read(tensor)).expect("a result can be read")
}

/// A map or activation as PyTorch orders it.
fn maps<B: Backend>(b: &B, tensor: &B::Tensor) -> HostTensor {
    channels_first(&read(b, tensor))
}

/// Best minus second best of `[N, P*P, H, W]` scores.
fn margin(scores: &HostTensor) -> HostTensor {
    let &[n, p, h, w] = scores.shape.as_slice() else { panic!("shape {:?}", scores.shape) };
    let data = (0..n * h * w).map(|i| {
        let at = |p_index: usize| scores.data[(i / (h * w) * p + p_index) * h * w + i % (h * w)];
        let (best, second) = (0..p).map(at).fold((0.0_f32, 0.0_f32), |(best, second), score| {
            if score > best { (score, best) } else { (best, second.max(score)) }
        });
        best - second
    });
    HostTensor { shape: vec![n, 1, h, w], data: data.collect() }
}

fn add_match<B: Backend>(
    b: &B,
    prefix: &str,
    found: &Match<B::Tensor>,
    scores: &HostTensor,
    into: &mut Tensors,
) {
    let mut argmax = read(b, &found.argmax);
    argmax.shape.pop();
    into.insert(format!("{prefix}argmax"), argmax);
    into.insert(format!("{prefix}displacement"), maps(b, &found.displacement));
    into.insert(format!("{prefix}confidence"), maps(b, &found.confidence));
    into.insert(format!("{prefix}correlation_margin"), margin(scores));
    into.insert(format!("{prefix}correlation"), scores.clone());
}

/// Everything that a motion module computes from the features `[N*T, h, w, C]`, by the golden names.
fn module_tensors<B: Backend>(
    b: &B,
    module: &MotionModule<B>,
    x: &B::Tensor,
    frames: usize,
    estimation: &Estimation,
) -> motion_net::Result<Tensors> {
    let mut ours = Tensors::new();
    let motion = module.forward(b, x, frames, estimation, Mode::EVAL)?;
    let reduced = module.reduce(b, x, Statistics::Running)?;
    let unit = b.unit_length(&reduced)?;
    let (first, second) = b.frame_pairs(&unit, frames)?;
    let scores = b.correlation(&first, &second, estimation.patch)?;
    add_match(b, "", &motion.forward, &maps(b, &scores), &mut ours);
    if let Some(backward) = &motion.backward {
        let scores = b.correlation(&second, &first, estimation.patch)?;
        add_match(b, "backward_", backward, &maps(b, &scores), &mut ours);
    }
    for temperature in ["1", "0.01"] {
        let soft = Estimation {
            estimator: Estimator::Soft,
            temperature: temperature.parse().expect("a number"),
            ..*estimation
        };
        let found = b.displacement(&scores, &soft)?;
        ours.insert(format!("displacement_soft_argmax_tau_{temperature}"), maps(b, &found.displacement));
    }
    ours.insert("reduced".into(), maps(b, &reduced));
    ours.insert("normalized".into(), maps(b, &unit));
    ours.insert("displacement_tensor".into(), maps(b, &motion.displacement_tensor));
    let mut layer_output = motion.displacement_tensor.clone();
    for (i, layer) in module.transform.layers.iter().enumerate() {
        for conv in layer {
            layer_output = conv.forward(b, &layer_output, Statistics::Running)?;
        }
        let all = maps(b, &layer_output);
        let mut frame = HostTensor { shape: all.shape.clone(), data: all.data.clone() };
        frame.data.truncate(all.data.len() / all.shape[0]);
        frame.shape[0] = 1;
        ours.insert(format!("ft{}", i + 1), all);
        ours.insert(format!("ft{}_frame0", i + 1), frame);
    }
    // What the module itself hands on must be its last layer's output.
    ours.insert("ft4".into(), maps(b, &motion.features));
    let fused = module.fuse(b, x, &motion.features, Statistics::Running)?;
    ours.insert("fused".into(), maps(b, &fused));
    Ok(ours)
}

/// The contract's `config.json` of a golden configuration; stages are `ms_at` of a network, `res3` of a lone module.
fn config(case: &Case) -> Config {
    let c = &case.entry["config"];
    let is_network = case.entry["kind"] == "network";
    let backbone = c["backbone"].as_str().unwrap_or("tsm_resnet18");
    let reduce = match (is_network, backbone.ends_with("mobilenet_v2")) {
        (false, _) => c["reduce_to"].clone(),
        (true, true) => json!(null),
        (true, false) => c["reduce_channels"].clone(),
    };
    let stages = if is_network { c["ms_at"].clone() } else { json!(["res3"]) };
    let classes = c["num_classes"].as_u64().unwrap_or(10);
    let labels: BTreeMap<String, String> =
        (0..classes).map(|i| (i.to_string(), format!("class {i}"))).collect();
    let mut config = json!({
        "architecture": "msnet", "backbone": backbone,
        "frames": if is_network { case.size("num_segments") } else { case.size("t") },
        "input_size": 224, "resize": [240, 320],
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "sampling": "segment",
        "width": if is_network { c["width"].clone() } else { json!(1.0) }, "id2label": labels,
    });
    if stages != json!([]) {
        config["motion"] = json!({
            "stages": stages, "patch": c["patch"], "reduce_channels": reduce,
            "estimator": match c["estimator"].as_str() {
                Some("ks") => "kernel",
                Some("s") => "soft",
                other => panic!("{}: estimator {other:?}", case.name),
            },
            "sigma": c["sigma"], "confidence": c["confidence"], "backward": c["backward"],
            "temperature": 1.0 / c["temperature"].as_f64().expect("a temperature"),
            "fusion": match c["fusion"].as_str() { Some("ms_only") => "motion_only", other => other.expect("a fusion") },
        });
    }
    Config::from_json(&config.to_string()).unwrap_or_else(|error| panic!("{}: {error}", case.name))
}

fn run_module<B: Backend>(b: &B, case: &Case) -> motion_net::Result<Tensors> {
    let config = config(case);
    let motion = config.motion.as_ref().expect("a module has a configuration");
    let mut loader = Loader::new(b, case.weights());
    let module = MotionModule::build(b, motion, "res3", case.size("channels"), &mut loader)?;
    let left = loader.finish()?;
    assert!(left.is_empty(), "{}: {left:?} are not used", case.name);
    let x = b.upload(&channels_last(case.tensor("input.feature")))?;
    module_tensors(b, &module, &x, config.frames, &motion.estimation())
}

/// `input.frames`, bytes `[N*T, H, W, 3]`, as the network takes them.
fn clip(case: &Case, config: &Config) -> HostTensor {
    let frames = case.tensor("input.frames");
    let &[n, h, w, 3] = frames.shape.as_slice() else { panic!("{}: shape {:?}", case.name, frames.shape) };
    let normalised = frames.data.iter().enumerate().map(|(i, value)| {
        let (mean, std) = (config.mean[i % 3], config.std[i % 3]);
        (value / 255.0 - mean) / std
    });
    HostTensor { shape: vec![n / config.frames, config.frames, h, w, 3], data: normalised.collect() }
}

fn run_network<B: Backend>(b: &B, case: &Case) -> motion_net::Result<Tensors> {
    let config = config(case);
    let clip = clip(case, &config);
    let estimation = config.motion.as_ref().map_or_else(Estimation::default, |motion| motion.estimation());
    let net = MsNet::load(b, config, case.weights())?;
    let mut pass = net.begin(b, &clip)?;
    let mut ours = Tensors::new();
    while let Some(step) = net.advance(b, &mut pass, &estimation, Mode::EVAL)? {
        let Step::Stage { index, .. } = step else { continue };
        let name = net.stage_names().nth(index).expect("a stage has a name");
        let features = pass.features(index).expect("the stage has just run");
        ours.insert(name.to_owned(), maps(b, features));
        if let Some(module) = net.motion_module(index) {
            let of_module = module_tensors(b, module, features, pass.frames, &estimation)?;
            ours.extend(of_module.into_iter().map(|(kind, tensor)| (format!("ms_{name}.{kind}"), tensor)));
            // What the pass itself hands on, rather than what its parts make when called one by one.
            let motion = pass.motion(index).expect("a stage with a module has motion");
            ours.insert(format!("ms_{name}.displacement"), maps(b, &motion.forward.displacement));
            ours.insert(format!("ms_{name}.confidence"), maps(b, &motion.forward.confidence));
            ours.insert(format!("ms_{name}.ft4"), maps(b, &motion.features));
            ours.insert(format!("ms_{name}.fused"), maps(b, pass.input(b)?));
        }
    }
    let scores = pass.scores.as_ref().expect("a whole pass has scores");
    ours.insert("pooled".into(), read(b, &scores.pooled));
    ours.insert("logits".into(), read(b, &scores.logits));
    let places = now(net.class_activation(b, &pass))?.expect("a whole pass has class activation maps");
    expect_places_to_add_up(&places, &read(b, &scores.logits));
    let mut frame_logits = read(b, &scores.frame_logits);
    let classes = frame_logits.shape[1];
    frame_logits.shape = vec![frame_logits.shape[0] / pass.frames, pass.frames, classes];
    ours.insert("frame_logits".into(), frame_logits);
    Ok(ours)
}

/// The mean of a class activation map over the places of a clip's frames is its score.
fn expect_places_to_add_up(places: &HostTensor, logits: &HostTensor) {
    let &[clips, classes] = logits.shape.as_slice() else { panic!("logits {:?}", logits.shape) };
    let of_clip = places.data.len() / clips;
    for (clip, scores) in logits.data.chunks(classes).enumerate() {
        for (class, score) in scores.iter().enumerate() {
            let all = places.data[clip * of_clip..][..of_clip].iter().skip(class).step_by(classes);
            let mean = all.clone().sum::<f32>() / all.count() as f32;
            assert!(
                (mean - score).abs() <= 1e-3 * score.abs().max(1.0),
                "class {class}: {mean}, not {score}"
            );
        }
    }
}

/// Every case of a kind on a backend, judged.
fn judge_all<B: Backend>(
    b: &B,
    kind: &str,
    allowed: Allowed,
    run: impl Fn(&B, &Case) -> motion_net::Result<Tensors>,
) {
    let mut report = Report::default();
    for case in Case::all(kind) {
        let ours = run(b, &case).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        judge(&case, &ours, allowed, &mut report);
    }
    eprintln!("{kind}, {} against PyTorch\n{report}", b.name());
    report.judge();
}

#[test]
fn motion_modules_equal_pytorch() {
    judge_all(&CpuBackend::new(), "ms_module", ON_CPU, run_module);
}

#[test]
fn networks_equal_pytorch() {
    judge_all(&CpuBackend::new(), "network", ON_CPU, run_network);
}

/// Candle's own operations, which are to train on an NVIDIA card, here on the CPU.
#[test]
fn candle_equals_pytorch() {
    let b = CandleBackend::new(candle_core::Device::Cpu);
    judge_all(&b, "ms_module", ON_CPU, run_module);
    judge_all(&b, "network", ON_CPU, run_network);
}

#[test]
fn motion_modules_on_the_gpu_equal_pytorch() {
    let Some(b) = now(gpu()) else { return };
    judge_all(&b, "ms_module", ON_GPU, run_module);
}

#[test]
fn networks_on_the_gpu_equal_pytorch() {
    let Some(b) = now(gpu()) else { return };
    judge_all(&b, "network", ON_GPU, run_network);
}

/// The alarm works: one spoilt element of any tensor, by little more than the tolerance, is noticed.
fn notices_spoilt_elements<B: Backend>(b: &B, allowed: Allowed) {
    for name in ["ms_small.safetensors", "ms_backward.safetensors"] {
        let case = Case::all("ms_module").into_iter().find(|case| case.name == name).expect("a golden case");
        let ours = run_module(b, &case).expect("the module runs");
        for kind in case.expected().filter(|kind| !INSIDE_DISPLACEMENT.contains(kind)) {
            let noticed = |spoilt: &HostTensor| !judge_one(&case, "", kind, spoilt, allowed).passes();
            let mut spoilt = ours[kind].clone();
            let middle = spoilt.data.len() / 2;
            let by = if kind.ends_with("argmax") { 1.0 } else { 3.0 * tolerance(&case, kind, allowed) };
            spoilt.data[middle] += by;
            assert!(noticed(&spoilt), "{name}: {kind}");
            spoilt.data[middle] = f32::NAN;
            assert!(noticed(&spoilt), "{name}: {kind} with NaN");
            spoilt.data.truncate(middle);
            spoilt.shape = vec![middle];
            assert!(noticed(&spoilt), "{name}: {kind} of another shape");
        }
    }
}

#[test]
fn a_spoilt_element_is_noticed() {
    notices_spoilt_elements(&CpuBackend::new(), ON_CPU);
}

#[test]
fn a_spoilt_element_on_the_gpu_is_noticed() {
    let Some(b) = now(gpu()) else { return };
    notices_spoilt_elements(&b, ON_GPU);
}

/// No golden file is forgotten: each is judged here, or named by another test's source, or said to be no part of
/// this network.
#[test]
fn every_golden_file_is_judged() {
    let others = test_sources();
    let mut forgotten = BTreeSet::new();
    for (name, entry) in golden::index() {
        match entry["kind"].as_str() {
            // Judged above, whatever they are called: `Case::all` takes every file of the kind.
            Some("ms_module" | "network") => {
                assert!(golden::path(&name).exists(), "{name} was not copied")
            }
            Some("cmr_block") => eprintln!("{name}: not part of this network (CMR, another paper)"),
            Some(kind) if others.iter().any(|source| names(source, &name, kind)) => {}
            _ => {
                forgotten.insert(name);
            }
        }
    }
    assert!(forgotten.is_empty(), "no test reads {forgotten:?}");
}

/// Whether a source reads this file, by its name or with all of its kind.
fn names(source: &str, file: &str, kind: &str) -> bool {
    source.contains(file) || source.contains(&format!("Case::all({kind:?})"))
}

/// Sources of tests that run, but for this file: a file of this folder runs if its manifest lists it.
fn test_sources() -> Vec<String> {
    fn visit(folder: &Path, into: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("a source folder can be listed") {
            let path = entry.expect("a source folder can be listed").path();
            if path.is_dir() {
                visit(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(&path).expect("a source file can be read");
                if source.contains("#[test]") {
                    into.push(source);
                }
            }
        }
    }
    let mut sources = Vec::new();
    visit(&repository().join("crates"), &mut sources);
    let here = repository().join("tests");
    let manifest = std::fs::read_to_string(here.join("Cargo.toml")).expect("the manifest can be read");
    for line in manifest.lines() {
        let listed = line.strip_prefix("path = \"").and_then(|rest| rest.strip_suffix('"'));
        if let Some(file) = listed.filter(|&file| file != "golden.rs") {
            sources.push(std::fs::read_to_string(here.join(file)).expect("a listed test can be read"));
        }
    }
    sources
}
