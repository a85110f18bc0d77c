//! Are the figures of `evaluate` those of its protocols, and how far are the default model's maps from the truth?

use std::path::{Path, PathBuf};

use motion_clip::{Preprocess, resize};
use motion_net::{Backend, Config, CpuBackend, HostTensor, MsNet, Weights};
use motion_train::data::Sample;
use motion_train::metrics::ranking;
use motion_train::synth::{CLASSES, Dataset, SynthClip};
use serde_json::Value;

use crate::support::{arg, config_json, fails, json, model, shared, succeeds, weights, write_model};

/// A small model of the rendered classes; `resize` is wider than high, so that there are three crops.
fn small(folder: &Path, name: &str, frames: usize, backbone: &str) -> PathBuf {
    let labels: Vec<String> =
        CLASSES.iter().enumerate().map(|(i, name)| format!("\"{i}\": \"{name}\"")).collect();
    let config = config_json(backbone, true)
        .replace("\"frames\": 4", &format!("\"frames\": {frames}"))
        .replace("\"resize\": [64, 64]", "\"resize\": [72, 104]")
        .replace("\"0\": \"Up\", \"1\": \"Down\", \"2\": \"Still\"", &labels.join(", "));
    let path = folder.join(name);
    write_model(&path, &config, weights(&config));
    path
}

/// A rendered set of small clips.
fn set(folder: &Path, count: &str, frames: &str) -> PathBuf {
    let out = folder.join(format!("set-{frames}"));
    let size = ["--frames", frames, "--width", "104", "--height", "72"];
    let args = ["synth", "--out", arg(&out), "--count", count, "--seed", "3"];
    succeeds(&[&args[..], &size].concat());
    out
}

fn evaluate(models: &[&Path], data: &Path, options: &[&str]) -> Value {
    let mut args = vec!["evaluate", "--json", "--data", arg(data)];
    models.iter().for_each(|model| args.extend(["--model", arg(model)]));
    json(&succeeds(&[&args, options].concat()).stdout)
}

/// A model, run by hand.
struct ByHand {
    net: MsNet<CpuBackend>,
}

impl ByHand {
    fn load(folder: &Path) -> Self {
        let config =
            Config::from_json(&std::fs::read_to_string(folder.join("config.json")).unwrap()).unwrap();
        let weights =
            Weights::from_safetensors(&std::fs::read(folder.join("model.safetensors")).unwrap()).unwrap();
        Self { net: MsNet::load(&CpuBackend::new(), config, weights).unwrap() }
    }

    /// Scores of these frames of a clip in the square of `side` pixels at (row, column) of the resized picture.
    fn scores(&self, clip: &Sample, frames: &[usize], [row, column]: [usize; 2], side: usize) -> Vec<f64> {
        let (b, config) = (CpuBackend::new(), self.net.config());
        let [height, width] = config.resize;
        let part = || [row..row + side, column..column + side];
        let views: Vec<_> = frames
            .iter()
            .map(|&frame| resize::resize_window(&clip.frames[frame], height, width, part()).unwrap())
            .collect();
        let clip = Preprocess { input_size: side, ..Preprocess::default() }.clip_of_views(&views).unwrap();
        let [t, h, w, c] = clip.shape;
        let input = HostTensor::new([1, t, h, w, c], clip.data).unwrap();
        let pass = self.net.forward(&b, &input, &config.motion.as_ref().unwrap().estimation()).unwrap();
        let logits = pollster::block_on(b.read(pass.logits().unwrap())).unwrap();
        logits.data.iter().map(|&score| f64::from(score)).collect()
    }
}

fn mean(scores: &[Vec<f64>]) -> Vec<f64> {
    (0..scores[0].len()).map(|k| scores.iter().map(|s| s[k]).sum::<f64>() / scores.len() as f64).collect()
}

/// What `evaluate` should count when each clip has these scores.
fn confusion(data: &Path, frames: usize, scores: impl Fn(&Sample) -> Vec<f64>) -> Vec<Vec<usize>> {
    let data = Dataset::open(data).unwrap();
    assert!(data.frames() >= frames);
    let mut counts = vec![vec![0; CLASSES.len()]; CLASSES.len()];
    for index in 0..data.count() {
        let SynthClip { frames, label, flow, .. } = data.read(index).unwrap();
        let sample = Sample { frames, label, flow };
        let scores: Vec<f32> = scores(&sample).iter().map(|&score| score as f32).collect();
        counts[sample.label][ranking(&scores)[0]] += 1;
    }
    counts
}

fn counts(found: &Value) -> Vec<Vec<usize>> {
    serde_json::from_value(found["confusion"].clone()).unwrap()
}

#[test]
fn clips_crops_and_models_are_averaged() {
    let folder = tempfile::tempdir().unwrap();
    let (four, eight) =
        (small(folder.path(), "four", 4, "resnet18"), small(folder.path(), "eight", 8, "tsm_resnet18"));
    let set = set(folder.path(), "34", "8");
    let (of_four, of_eight) = (ByHand::load(&four), ByHand::load(&eight));
    let (centre, crops) = ([4, 20], [[0, 0], [0, 32], [0, 16]]);
    let whole: Vec<usize> = (0..8).collect();
    let (middles, starts) = ([1, 3, 5, 7], [0, 2, 4, 6]);

    // 8 frames of 8: as they are. 4 of 8: the middles of the segments, then their starts.
    let plain = evaluate(&[&eight], &set, &[]);
    assert_eq!(counts(&plain), confusion(&set, 8, |clip| of_eight.scores(clip, &whole, centre, 64)));
    let one = |clip: &Sample| of_four.scores(clip, &middles, centre, 64);
    assert_eq!(counts(&evaluate(&[&four], &set, &[])), confusion(&set, 4, one));
    let two = |clip: &Sample| mean(&[one(clip), of_four.scores(clip, &starts, centre, 64)]);
    assert_eq!(counts(&evaluate(&[&four], &set, &["--clips", "2"])), confusion(&set, 4, two));
    let three = |clip: &Sample| mean(&crops.map(|crop| of_four.scores(clip, &middles, crop, 72)));
    assert_eq!(counts(&evaluate(&[&four], &set, &["--crops", "3"])), confusion(&set, 4, three));
    let six = |clip: &Sample| {
        let second = mean(&crops.map(|crop| of_four.scores(clip, &starts, crop, 72)));
        mean(&[three(clip), second])
    };
    let all = evaluate(&[&four], &set, &["--clips", "2", "--crops", "3"]);
    assert_eq!(counts(&all), confusion(&set, 4, six));
    // Those numbers can tell the protocols from each other.
    assert!(
        confusion(&set, 4, one) != confusion(&set, 4, three)
            && confusion(&set, 4, three) != confusion(&set, 4, six)
    );

    let both = evaluate(&[&four, &eight], &set, &[]);
    let scores = |clip: &Sample| mean(&[one(clip), of_eight.scores(clip, &whole, centre, 64)]);
    assert_eq!(counts(&both), confusion(&set, 8, scores));
    let probabilities = |scores: Vec<f64>| {
        let sum: f64 = scores.iter().map(|score| score.exp()).sum();
        scores.iter().map(|score| score.exp() / sum).collect::<Vec<f64>>()
    };
    let softmax = |clip: &Sample| {
        mean(&[probabilities(one(clip)), probabilities(of_eight.scores(clip, &whole, centre, 64))])
    };
    assert_eq!(counts(&evaluate(&[&four, &eight], &set, &["--softmax"])), confusion(&set, 8, softmax));
    assert!(
        confusion(&set, 8, scores) != confusion(&set, 8, |clip| of_eight.scores(clip, &whole, centre, 64))
    );
    // The same again, to the last digit.
    assert_eq!(both, evaluate(&[&four, &eight], &set, &["--clips", "1", "--crops", "1"]));

    // Flow: a stage of each model, the first of which is the contract's figure.
    let flow = both["flow"].as_array().unwrap();
    assert_eq!(flow.len(), 2);
    assert_eq!((&flow[1]["model"], &flow[1]["stage"]), (&arg(&eight).into(), &"res3".into()));
    assert_eq!(
        (&flow[0]["epe_cells"], &flow[0]["zero_epe_cells"]),
        (&both["epe_cells"], &both["zero_epe_cells"])
    );
    // Half as many frames move twice as far.
    let zero = |flow: &Value| flow["zero_epe_cells"].as_f64().unwrap();
    let ratio = zero(&flow[0]) / zero(&flow[1]);
    assert!((1.6..2.4).contains(&ratio), "{ratio}");
    let cells = |bin: &Value| bin["cells"].as_u64().unwrap();
    let bins = flow[0]["by_speed"].as_array().unwrap();
    assert_eq!(bins.len(), 5);
    assert!(cells(&bins[2]) + cells(&bins[3]) == cells(&bins[4]) && cells(&bins[0]) > 0, "{bins:?}");
}

#[test]
fn every_motion_stage_is_measured_on_its_own_grid() {
    let folder = tempfile::tempdir().unwrap();
    let one = small(folder.path(), "one", 4, "resnet18");
    let config = std::fs::read_to_string(one.join("config.json")).unwrap();
    let config = config.replace("[\"res3\"]", "[\"res2\", \"res3\"]");
    let two = folder.path().join("two");
    write_model(&two, &config, weights(&config));
    let found = evaluate(&[&two], &set(folder.path(), "17", "4"), &[]);
    let [fine, coarse] = &found["flow"].as_array().unwrap()[..] else { panic!("two stages: {found}") };
    assert_eq!((&fine["stage"], &fine["grid"]), (&"res2".into(), &serde_json::json!([16, 16])));
    assert_eq!((&coarse["stage"], &coarse["grid"]), (&"res3".into(), &serde_json::json!([8, 8])));
    assert_eq!(found["epe_cells"], fine["epe_cells"]);
    // A cell of res2 is half as wide, so the same motion is twice as many of them; which cells count differs a little.
    let zero = |flow: &Value| flow["zero_epe_cells"].as_f64().unwrap();
    let ratio = zero(fine) / zero(coarse);
    assert!((1.6..2.4).contains(&ratio), "{ratio}");
}

#[test]
fn what_cannot_be_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let (four, other) = (small(folder.path(), "four", 4, "resnet18"), model(folder.path()));
    let (set, absent) = (set(folder.path(), "1", "4"), folder.path().join("absent"));
    let evaluate = ["evaluate", "--model", arg(&four), "--data", arg(&set)];
    let with = |options: &[&str], hints: &[&str]| fails(&[&evaluate[..], options].concat(), hints);
    with(&["--clips", "0"], &["--clips", "0"]);
    with(&["--crops", "2"], &["--crops", "2", "1 (centre)"]);
    with(&["--model", arg(&absent)], &["absent", "no such folder"]);
    with(&["--model", arg(&other)], &["model/config.json", "classes", "found 3", "expected 26"]);
    let eight = small(folder.path(), "eight", 8, "resnet18");
    with(&["--model", arg(&eight)], &["set-4", "4 frames", "8"]);
    fails(&["evaluate", "--model", arg(&four), "--data", arg(&absent)], &["absent"]);
    fails(&["evaluate", "--model", arg(&four), "--pairs", arg(&absent)], &["absent", "No such file"]);
    std::fs::create_dir_all(folder.path().join("pairs/one")).unwrap();
    let pairs = folder.path().join("pairs");
    fails(&["evaluate", "--model", arg(&four), "--pairs", arg(&pairs)], &["pairs/one", ".flo"]);

    // As high as wide: three crops would be one.
    let square = folder.path().join("square");
    let config = std::fs::read_to_string(four.join("config.json")).unwrap().replace("[72, 104]", "[72, 72]");
    write_model(&square, &config, weights(&config));
    let args = ["evaluate", "--model", arg(&square), "--data", arg(&set), "--crops", "3"];
    fails(&args, &["square/config.json", "72 x 72", "wider"]);
    let config = config_json("resnet18", false);
    let still = folder.path().join("still");
    write_model(&still, &config, weights(&config));
    fails(
        &["evaluate", "--model", arg(&still), "--pairs", arg(&pairs)],
        &["still/config.json", "motion module"],
    );
}

#[test]
fn maps_of_fast_real_pairs_beat_a_map_of_zeros() {
    let Some(data) = shared("data/flow") else { return };
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/models/default");
    let found =
        json(&succeeds(&["evaluate", "--model", arg(&default), "--pairs", arg(&data), "--json"]).stdout);
    let pairs = found["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 4);
    for pair in pairs {
        let (name, flow) = (pair["pair"].as_str().unwrap(), &pair["flow"][0]);
        let [cells, error, zero] =
            ["cells", "epe_cells", "zero_epe_cells"].map(|key| flow[key].as_f64().unwrap());
        eprintln!("{name:12} {error:.2} cells off, a map of zeros {zero:.2} ({cells} cells)");
        assert!(cells > 400.0, "{name}: only {cells} cells have a truth");
        // RubberWhale moves less than a quarter of a cell: nothing for a search over whole cells to win.
        if name != "rubberwhale" {
            assert!(error < zero, "{name}: further from the truth than a map of zeros");
        }
    }
}
