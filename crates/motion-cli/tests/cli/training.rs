//! From nothing to a trained model: do `synth`, `train` and `evaluate` fit together?

use crate::support::{arg, fails, frames, json, model, succeeds};

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
            reduce_channels = 8
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
    assert_eq!(evaluation["per_class"].as_object().unwrap().len(), 17);
    assert!(evaluation["epe_cells"].as_f64().unwrap() > 0.0);
    assert!(succeeds(&evaluate).stdout.contains("top-1"));

    let frames = frames(folder.path(), 4, [64, 64], [8, 0]);
    succeeds(&["classify", arg(&frames), "--model", arg(&trained)]);
    // Other classes than the data's.
    fails(&["evaluate", "--model", arg(&model(folder.path())), "--data", arg(&data)], &["classes"]);
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
