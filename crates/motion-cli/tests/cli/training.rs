//! From nothing to a trained model: do `synth`, `train` and `evaluate` fit together?

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use candle_core::Tensor;
use motion_train::synth::CLASSES;
use serde_json::Value;

use crate::support::{arg, fails, frames, json, model, program, run, succeeds};

/// The end of a recipe: a network small enough to train in a test.
pub(crate) const MODEL: &str = r#"
[model]
architecture = "msnet"
backbone = "resnet18"
width = 0.125
frames = 4
input_size = 64
resize = [64, 64]
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
sampling = "segment"
[model.motion]
stages = ["res3"]
patch = 7
reduce_channels = 8"#;

#[test]
fn a_rendered_data_set_trains_a_model_that_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let data = place("data");
    let synth = [
        "synth",
        "--out",
        arg(&data),
        "--count",
        "17",
        "--seed",
        "5",
        "--frames",
        "4",
        "--width",
        "64",
        "--height",
        "64",
    ];
    let report = json(&succeeds(&[&synth[..], &["--json"]].concat()).stdout);
    assert_eq!((&report["clips"], &report["classes"]), (&17.into(), &17.into()));
    fails(&synth, &["data"]);

    let recipe = place("recipe.toml");
    let set = "folder = \"data\"\n";
    std::fs::write(
        &recipe,
        format!(
            r#"
            out = "run"
            seed = 1
            epochs = 1
            batch = 4
            learning_rate = 0.01
            [train]
            {set}
            [validate]
            {set}
            [test]
            {set}
            {MODEL}
            "#
        ),
    )
    .unwrap();
    let report = json(&succeeds(&["train", "--config", arg(&recipe), "--json"]).stdout);
    assert_eq!(report["test"]["clips"], 17);
    let trained = place("run/model");
    assert!(trained.join("README.md").is_file());

    let evaluate = ["evaluate", "--model", arg(&trained), "--data", arg(&data)];
    let evaluation = json(&succeeds(&[&evaluate[..], &["--json"]].concat()).stdout);
    for key in ["top1", "top5"] {
        assert!((0.0..=1.0).contains(&evaluation[key].as_f64().unwrap()), "{evaluation}");
    }
    assert_eq!(evaluation["clips"], 17);
    assert_eq!(evaluation["per_class"].as_object().unwrap().len(), CLASSES.len());
    assert!(evaluation["epe_cells"].as_f64().unwrap() > 0.0);
    assert!(succeeds(&evaluate).stdout.contains("top-1"));

    let frames = frames(folder.path(), 4, [64, 64], [8, 0]);
    succeeds(&["classify", arg(&frames), "--model", arg(&trained)]);
    // Other classes than the data's.
    fails(&["evaluate", "--model", arg(&model(folder.path())), "--data", arg(&data)], &["classes"]);
}

#[test]
fn maps_learn_from_true_flow_and_stay_when_the_classes_learn() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let recipe = |name: &str, keys: &str, guide: &str| {
        let path = place(&format!("{name}.toml"));
        let text = format!(
            r#"
            out = "{name}"
            seed = 1
            batch = 4
            learning_rate = 0.01
            symmetries = true
            batch_norms = true
            {keys}
            {guide}
            [train]
            count = 17
            [validate]
            count = 17
            [test]
            count = 1
            {MODEL}
            fusion = "motion_only"
            "#
        );
        std::fs::write(&path, text).unwrap();
        path
    };
    let guide = "[guide]\nlikelihood = 1.0\ntemperature = 0.1\nend_point = 0.5";
    let maps = recipe("maps", "epochs = 5\nfreeze_until = \"res2\"\nclass_weight = 0.0", guide);
    let report = json(&succeeds(&["train", "--config", arg(&maps), "--json"]).stdout);
    assert!(report.get("validate_top1").is_none(), "no class was learnt: {report}");
    let log = std::fs::read_to_string(place("maps/log.jsonl")).unwrap();
    let losses: Vec<f64> = log.lines().map(|line| json(line)["loss"].as_f64().unwrap()).collect();
    assert!(losses.len() == 5 && losses[4] < losses[0], "{losses:?}");
    assert!(json(log.lines().next().unwrap())["validate_epe_cells"][0].as_f64().unwrap() > 0.0);

    let keys =
        "epochs = 1\nfirst = \"maps/model\"\nfreeze_until = \"res3\"\nfreeze_maps = true\nrun_frames = 2";
    let classes = recipe("classes", keys, "");
    let report = json(&succeeds(&["train", "--config", arg(&classes), "--json"]).stdout);
    assert!(report["validate_top1"].is_number(), "{report}");
    let tensors = |run: &str| {
        let path = place(run).join("model/model.safetensors");
        candle_core::safetensors::load(path, &candle_core::Device::Cpu).unwrap()
    };
    let (before, after) = (tensors("maps"), tensors("classes"));
    let same = |name: &str| {
        let numbers = |tensor: &Tensor| {
            tensor.to_dtype(candle_core::DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        numbers(&before[name]) == numbers(&after[name])
    };
    let mut frozen = 0;
    for name in before.keys() {
        let maps = ["conv1", "bn1", "layer1", "layer2", "chnl_reduction"];
        if maps.iter().any(|part| name.starts_with(&format!("base_model.{part}"))) {
            assert!(same(name), "{name} has moved");
            frozen += 1;
        }
    }
    assert!(frozen > 30 && !same("new_fc.weight"), "{frozen}");

    for (keys, guide, said) in [
        ("epochs = 1\nclass_weight = 0.0", "", "nothing to learn"),
        ("epochs = 1\nfirst = \"maps/model\"\ntrunk = \"elsewhere\"", "", "trunk"),
        ("epochs = 1", "[guide]\nlikelihood = 1.0\ntemperature = 0.0\nend_point = 0.0", "guide.temperature"),
    ] {
        fails(&["train", "--config", arg(&recipe("wrong", keys, guide))], &["wrong.toml", said]);
    }
}

/// Everything that a run has to remember: momentum, an average, dropout, crops, batches added up.
const EVERYTHING: &str = r#"
out = "run"
seed = 3
epochs = 3
batch = 3
accumulate = 2
optimizer = "sgd"
learning_rate = 0.02
bias_rate = 2.0
weight_decay = 0.0005
schedule = { step = { epochs = [2], factor = 0.1 } }
warm_up = 0.1
average = 0.9
dropout = 0.5
batch_norms = true
save_every = 2
[augment]
[guide]
likelihood = 0.3
temperature = 0.1
end_point = 0.5
[train]
count = 34
[validate]
count = 8
[test]
count = 8
"#;

#[test]
fn a_run_that_is_killed_ten_times_ends_with_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("recipe.toml"), format!("{EVERYTHING}{MODEL}")).unwrap();
        path.join("recipe.toml")
    };
    let (whole, killed) = (recipe("whole"), recipe("killed"));
    survives_kills(&whole, &killed, 10);

    // Pictures and events are there; another recipe is another run.
    let read = |file: &str| std::fs::read_to_string(killed.with_file_name("run").join(file)).unwrap();
    for file in ["curves.svg", "confusion.svg"] {
        assert!(read(file).starts_with("<svg"), "{file}");
    }
    assert!(std::fs::read_dir(killed.with_file_name("run").join("events")).unwrap().count() > 1);
    let text = std::fs::read_to_string(&killed).unwrap();
    std::fs::write(&killed, text.replace("batch = 3", "batch = 4")).unwrap();
    fails(
        &["train", "--resume", "--config", arg(&killed)],
        &["state.safetensors", "\"batch\" was 3, now it is 4"],
    );
}

/// Trains after one recipe of three epochs, and after the same one with so many kills on the way: both must end alike.
pub(crate) fn survives_kills(whole: &Path, killed: &Path, kills: usize) {
    let begun = Instant::now();
    succeeds(&["train", "--config", arg(whole)]);
    let took = begun.elapsed();

    // Moments that differ from test to test; a failure says which they were.
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let mut random = seed;
    let mut done = 0;
    while done < kills {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let share = (random >> 40) as f64 / (1u64 << 24) as f64;
        let mut child = program()
            .args(["train", "--resume", "--config", arg(killed)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(took.mul_f64(share / 4.0));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status} after {done} kills, moments from seed {seed}");
            continue;
        }
        // SIGKILL on Unix.
        child.kill().unwrap();
        child.wait().unwrap();
        done += 1;
    }
    let ran = succeeds(&["train", "--resume", "--config", arg(killed)]);

    let read = |recipe: &Path, file: &str| std::fs::read(recipe.with_file_name("run").join(file)).unwrap();
    for file in ["model/model.safetensors", "last/model.safetensors"] {
        assert!(
            read(whole, file) == read(killed, file),
            "{file} differs, moments from seed {seed}: {}",
            ran.stderr
        );
    }
    let log = |recipe: &Path| -> Vec<Value> {
        let lines = String::from_utf8(read(recipe, "log.jsonl")).unwrap();
        let timeless = |line: &str| {
            let mut line = json(line);
            line.as_object_mut().unwrap().retain(|key, _| !["secs", "clips_per_sec"].contains(&key.as_str()));
            line
        };
        lines.lines().map(timeless).collect()
    };
    assert_eq!(log(whole), log(killed), "moments from seed {seed}");
    assert_eq!(log(whole).len(), 3);
}

#[test]
fn a_run_ends_when_nothing_gets_better() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("recipe.toml");
    // A step size of next to nothing and norms that keep their statistics: every epoch is as the first.
    let still = EVERYTHING
        .replace("learning_rate = 0.02", "learning_rate = 1e-9")
        .replace("batch_norms = true", "batch_norms = false\nreduction_norms = false\nmotion_norms = false")
        .replace("dropout = 0.5", "patience = 1");
    std::fs::write(&recipe, format!("{still}{MODEL}")).unwrap();
    succeeds(&["train", "--config", arg(&recipe)]);
    let log = std::fs::read_to_string(folder.path().join("run/log.jsonl")).unwrap();
    assert_eq!(log.lines().count(), 2, "{log}");
}

#[test]
fn batches_added_up_are_one_batch() {
    let folder = tempfile::tempdir().unwrap();
    let last = |name: &str, batch: &str| {
        let recipe = folder.path().join(format!("{name}.toml"));
        // Without what differs from batch to batch: statistics, dropout and the guide's share of moving positions.
        let text = EVERYTHING
            .replace("out = \"run\"", &format!("out = \"{name}\""))
            .replace("batch = 3\naccumulate = 2", batch)
            .replace(
                "batch_norms = true",
                "batch_norms = false\nreduction_norms = false\nmotion_norms = false",
            )
            .replace("dropout = 0.5\n", "")
            .replace("[guide]\nlikelihood = 0.3\ntemperature = 0.1\nend_point = 0.5\n", "")
            .replace("epochs = 3", "epochs = 1")
            .replace("[2]", "[]")
            .replace("count = 34", "count = 6");
        std::fs::write(&recipe, format!("{text}{MODEL}")).unwrap();
        succeeds(&["train", "--config", arg(&recipe)]);
        let model = folder.path().join(name).join("last/model.safetensors");
        candle_core::safetensors::load(model, &candle_core::Device::Cpu).unwrap()
    };
    let (one, both) = (last("one", "batch = 6"), last("both", "batch = 3\naccumulate = 2"));
    let two = last("two", "batch = 3");
    let apart = |other: &HashMap<String, Tensor>| -> f32 {
        let numbers = |tensors: &HashMap<String, Tensor>| {
            let tensor = tensors["new_fc.weight"].to_dtype(candle_core::DType::F32).unwrap();
            tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let pairs = numbers(&one).into_iter().zip(numbers(other));
        pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
    };
    // One step of f16, in which they are stored, at values below 1; two steps go elsewhere.
    let (both, two) = (apart(&both), apart(&two));
    assert!(both <= 5e-4 && two > 2e-3, "{both} {two}");
}

#[test]
fn recipes_and_data_sets_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let (recipe, model) = (folder.path().join("recipe.toml"), model(folder.path()));
    let train = ["train", "--config", arg(&recipe)];
    fails(&train, &["recipe.toml"]);
    std::fs::write(&recipe, "epoch = 3\n").unwrap();
    fails(&train, &["recipe.toml", "epoch"]);
    fails(&["evaluate", "--model", arg(&model), "--data", arg(folder.path())], &[arg(folder.path())]);
    let out = folder.path().join("data");
    fails(&["synth", "--out", arg(&out), "--count", "0", "--seed", "1"], &["0"]);
    fails(&["synth", "--out", arg(&out), "--count", "1", "--seed", "1", "--width", "5"], &["5"]);
}

#[test]
fn a_data_set_is_checked_video_by_video() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(place("set/wave")).unwrap();
    std::fs::rename(frames(folder.path(), 4, [32, 32], [1, 0]), place("set/wave/1")).unwrap();
    let set = place("set");
    let check = ["data", "check", arg(&set), "--json"];
    let report = json(&succeeds(&check).stdout);
    assert_eq!((&report["videos"], &report["classes"]), (&1.into(), &1.into()));
    assert_eq!(report["problems"], serde_json::json!([]));

    // An unreadable frame, a video that is absent, one that is listed twice, a class that has none.
    std::fs::write(place("set/wave/1/0002.png"), "no picture").unwrap();
    std::fs::write(place("list.txt"), "wave/1 4 0\nwave/1 4 0\nwave/2 4 0\n").unwrap();
    std::fs::write(place("names.txt"), "wave\nnod\n").unwrap();
    let (list, names) = (place("list.txt"), place("names.txt"));
    let ran = run(&[&check[..], &["--list", arg(&list), "--labels", arg(&names)]].concat());
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let report = json(&ran.stdout);
    let problems: Vec<&str> = report["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["problem"].as_str().unwrap())
        .collect();
    assert_eq!(problems.len(), 5, "{problems:?}");
    for said in ["0002.png", "listed 2 times", "No such file", "no video"] {
        assert!(problems.iter().any(|problem| problem.contains(said)), "{said}: {problems:?}");
    }
    fails(&["data", "check", arg(&place("absent"))], &["absent"]);
}
