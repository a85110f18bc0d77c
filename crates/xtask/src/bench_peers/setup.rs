//! What the comparison needs. In: the repository. Out: programs, peers, networks and a server, installed and built.

use super::{Network, Part, name};
use crate::run::{find_program, root, succeed};
use crate::test::tools;
use crate::{build, peers, serve};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Our module for so many threads: where the server has it, and where it is built.
const MODULES: [(usize, &str, &str); 2] = [(1, "/pkg", "web/pkg"), (2, "/pkg-threads", "web/pkg-threads")];

pub(super) struct Setup {
    /// `tests/peers/`.
    pub(super) scripts: PathBuf,
    /// `target/peers/`, for results.
    pub(super) results: PathBuf,
    /// A folder for each network, as `networks.py` writes them.
    pub(super) networks: PathBuf,
    pub(super) python: PathBuf,
    pub(super) motionlens: PathBuf,
    pub(super) node: PathBuf,
    pub(super) chromium: PathBuf,
    /// Of the server, without a slash at its end; empty where no browser takes part.
    pub(super) address: String,
    /// Where WebGPU runs, if it takes part.
    pub(super) adapter: Option<Adapter>,
    /// Those of [`MODULES`] that are built.
    modules: Vec<(usize, &'static str)>,
    pub(super) machine: Machine,
}

/// Chromium's graphics adapter, as `adapter.js` finds it.
#[derive(Deserialize)]
pub(super) struct Adapter {
    name: String,
    /// Whether it is a graphics card, and not a program in its place.
    card: bool,
    /// What Chromium has to be started with.
    pub(super) flags: Vec<String>,
}

/// What was compared, and where.
#[derive(Serialize)]
pub(super) struct Machine {
    pub(super) date: String,
    pub(super) cpu: String,
    pub(super) cores: usize,
    /// As their makers write them.
    pub(super) versions: Vec<String>,
}

impl Setup {
    /// Where the server has our module for so many threads, if it is built.
    pub(super) fn module(&self, threads: usize) -> Option<&'static str> {
        self.modules.iter().find(|(of, _)| *of == threads).map(|(_, path)| *path)
    }

    /// Whether WebGPU runs on a graphics card.
    pub(super) fn on_card(&self) -> bool {
        self.adapter.as_ref().is_some_and(|adapter| adapter.card)
    }
}

/// Install, build and write what is missing.
pub(super) fn set_up<'a>(parts: &[Part], networks: impl Iterator<Item = &'a Network>) -> Result<Setup> {
    let scripts = root()?.join("tests/peers");
    let results = root()?.join("target/peers");
    let what = "PyTorch and onnxruntime (minutes, and gigabytes)";
    let python = peers::python(&scripts.join("requirements.txt"), &results.join("venv"), what)?;
    let networks_folder = results.join("networks");
    eprintln!("writing the networks");
    // The exporter of ONNX files warns that it is the older one.
    let mut write = Command::new(&python);
    write.args(["-W", "ignore::DeprecationWarning"]).arg(scripts.join("networks.py")).arg(&networks_folder);
    succeed(write.args(networks.map(name)))?;
    let motionlens = peers::motionlens()?;
    let (mut node, mut chromium) = (PathBuf::new(), PathBuf::new());
    let (mut address, mut modules, mut adapter) = (String::new(), Vec::new(), None);
    if parts.iter().any(|part| part.is_in_browser()) {
        tools::npm_ci(&tools::need(&tools::NPM)?, &scripts)?;
        node = find_program("node").or_else(|| find_program("node.exe")).context("node is missing")?;
        chromium = tools::chromium()?;
        build::build(build::WEB)?;
        let ort = scripts.join("node_modules/onnxruntime-web/dist");
        let mut folders = vec![("/peers", scripts.clone()), ("/networks", networks_folder.clone())];
        folders.extend([("/onnxruntime-web", ort), ("/page", root()?.join("web"))]);
        for (threads, path, folder) in MODULES {
            let folder = root()?.join(folder);
            if folder.join("motion_web_bg.wasm").is_file() {
                modules.push((threads, path));
                folders.push((path, folder));
            } else {
                println!("skipped: MotionLens with {threads} threads in the browser, which is not built");
            }
        }
        address = serve::in_background(&folders)?;
    }
    if parts.contains(&Part::WebGpu) {
        let mut script = Command::new(&node);
        script.arg(scripts.join("adapter.js")).arg(format!("{address}/peers/page.html"));
        let found = stdout(script.env("CHROMIUM", &chromium))?;
        adapter = Some(serde_json::from_str::<Adapter>(&found).context("adapter.js")?);
    }
    let mut machine = machine(&python, &scripts, &chromium)?;
    machine.versions.extend(adapter.as_ref().map(|adapter| format!("WebGPU on {}", adapter.name)));
    let networks = networks_folder;
    Ok(Setup {
        scripts,
        results,
        networks,
        python,
        motionlens,
        node,
        chromium,
        address,
        adapter,
        modules,
        machine,
    })
}

/// Versions of everything that is timed.
fn machine(python: &Path, scripts: &Path, chromium: &Path) -> Result<Machine> {
    let facts = stdout(Command::new(python).arg(scripts.join("facts.py")))?;
    let facts: serde_json::Value = serde_json::from_str(&facts).context("facts.py")?;
    let text = |name: &str| facts[name].as_str().unwrap_or_default().to_owned();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut versions = vec![stdout(Command::new(rustc).arg("--version"))?];
    versions.extend([format!("onnxruntime {}", text("onnxruntime")), format!("PyTorch {}", text("torch"))]);
    if !chromium.as_os_str().is_empty() {
        let package = scripts.join("node_modules/onnxruntime-web/package.json");
        let package = std::fs::read_to_string(&package).with_context(|| package.display().to_string())?;
        let package: serde_json::Value = serde_json::from_str(&package).context("onnxruntime-web")?;
        versions.push(format!("onnxruntime-web {}", package["version"].as_str().unwrap_or_default()));
        versions.push(stdout(Command::new(chromium).arg("--version"))?);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Machine { date: text("date"), cpu: text("cpu"), cores, versions })
}

/// What a program says.
fn stdout(command: &mut Command) -> Result<String> {
    let line = crate::run::describe(command);
    let output = command.output().with_context(|| format!("`{line}` did not start"))?;
    if !output.status.success() {
        bail!("`{line}` ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
