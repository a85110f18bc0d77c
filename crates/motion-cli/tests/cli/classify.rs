//! Does `classify` answer as the contract says, for one video and for many?

use crate::support::{arg, frames, json, model, run, succeeds};

#[test]
fn a_line_of_json_for_each_video() {
    let folder = tempfile::tempdir().unwrap();
    let (model, frames) = (model(folder.path()), frames(folder.path(), 9, [80, 60], [8, 0]));
    let ran =
        succeeds(&["classify", arg(&frames), arg(&frames), "--model", arg(&model), "--json", "--top", "2"]);
    let lines: Vec<serde_json::Value> = ran.stdout.lines().map(json).collect();
    assert_eq!(lines.len(), 2);
    let answer = lines[0].as_object().unwrap();
    let keys: Vec<&str> = answer.keys().map(String::as_str).collect();
    assert_eq!(keys, ["backend", "frames", "ms", "top", "video"]);
    assert_eq!(answer["video"], arg(&frames));
    assert_eq!(answer["backend"], "cpu");
    // The centres of 4 parts of 9 frames.
    assert_eq!(answer["frames"], serde_json::json!([1, 3, 5, 7]));
    let top = answer["top"].as_array().unwrap();
    assert_eq!(top.len(), 2);
    let probability = |i: usize| top[i]["probability"].as_f64().unwrap();
    assert!(probability(0) >= probability(1) && probability(0) + probability(1) <= 1.0 + 1e-9);
    assert!(["Up", "Down", "Still"].contains(&top[0]["label"].as_str().unwrap()));
}

#[test]
fn all_probabilities_add_up_to_one() {
    let folder = tempfile::tempdir().unwrap();
    let (model, frames) = (model(folder.path()), frames(folder.path(), 9, [80, 60], [8, 0]));
    for clips in ["1", "3"] {
        let ran = succeeds(&["classify", arg(&frames), "--model", arg(&model), "--json", "--clips", clips]);
        let answer = json(ran.stdout.trim());
        let sum: f64 = answer["top"]
            .as_array()
            .unwrap()
            .iter()
            .map(|action| action["probability"].as_f64().unwrap())
            .sum();
        assert!((sum - 1.0).abs() < 1e-6, "{answer}");
        assert_eq!(
            answer["frames"].as_array().unwrap().len().to_string(),
            (4 * clips.parse::<usize>().unwrap()).to_string()
        );
    }
}

#[test]
fn one_bad_video_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let (model, frames) = (model(folder.path()), frames(folder.path(), 4, [64, 64], [8, 0]));
    let absent = folder.path().join("absent.mp4");
    let ran = run(&["classify", arg(&absent), arg(&frames), "--model", arg(&model), "--json"]);
    assert_eq!(ran.code, Some(1));
    let lines: Vec<serde_json::Value> = ran.stdout.lines().map(json).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["video"], arg(&absent));
    assert!(lines[0]["error"].as_str().unwrap().contains("No such file"));
    assert!(lines[1]["top"].is_array());
    let errors: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(errors.len(), 2, "{}", ran.stderr);
    assert!(errors[0].contains("absent.mp4") && errors[1].contains("1 of 2"), "{}", ran.stderr);
}

#[test]
fn people_get_percentages() {
    let folder = tempfile::tempdir().unwrap();
    let (model, frames) = (model(folder.path()), frames(folder.path(), 4, [64, 64], [8, 0]));
    let text = succeeds(&["classify", arg(&frames), "--model", arg(&model), "--top", "1"]).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, arg(&frames)));
    assert!(lines[1].contains(" %  "), "{text}");
}
