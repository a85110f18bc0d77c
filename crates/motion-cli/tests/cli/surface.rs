//! Does the program keep its manners: help, exit codes, closed pipes?

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::{arg, frames, model, program, run, succeeds};

const SUBCOMMANDS: [&str; 9] =
    ["forward", "classify", "maps", "convert", "synth", "data", "train", "evaluate", "bench"];

#[test]
fn every_subcommand_has_help_with_an_example() {
    let all = succeeds(&["--help"]).stdout;
    for name in SUBCOMMANDS {
        assert!(all.contains(name), "{all}");
        let help = succeeds(&[name, "--help"]).stdout;
        assert!(help.contains("Example") && help.contains(&format!("motionlens {name} ")), "{help}");
    }
}

#[test]
fn wrong_usage_is_no_success() {
    for args in
        [&[][..], &["fly"], &["classify"], &["maps", "a.mp4"], &["bench", "--model", "x", "--runs", "0"]]
    {
        let ran = run(args);
        assert_ne!(ran.code, Some(0), "{args:?}");
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let (model, frames) = (model(folder.path()), frames(folder.path(), 4, [64, 64], [8, 0]));
    let mut command = program();
    command.args(["classify", "--model", arg(&model), "--json"]).args([arg(&frames); 40]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("\"top\""), "{line}");
    // The reader is dropped here: nobody listens any more.
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn bench_tells_the_first_run_from_the_later_ones() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let report =
        crate::support::json(&succeeds(&["bench", "--model", arg(&model), "--runs", "3", "--json"]).stdout);
    assert_eq!(report["runs"], 3);
    assert_eq!(report["network"], "resnet18");
    assert_eq!(report["clip"], serde_json::json!([4, 64, 64]));
    let stages: Vec<&str> =
        report["stages"].as_array().unwrap().iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["stem", "res2", "res3", "res4", "res5", "classifier"]);
    for key in ["load_ms", "first_ms", "median_ms", "fastest_ms", "slowest_ms"] {
        assert!(report[key].as_f64().unwrap() > 0.0, "{key}");
    }
    let text = succeeds(&["bench", "--model", arg(&model), "--runs", "1"]).stdout;
    assert!(text.contains("first run") && text.contains("later runs"), "{text}");
}
