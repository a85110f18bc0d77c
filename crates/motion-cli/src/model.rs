//! Model folders. In: `config.json` and `model.safetensors`. Out: a network that is ready to run, or one sentence
//! about what is wrong with them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use motion_clip::{Frame, Preprocess, Sampling};
#[cfg(feature = "gpu")]
use motion_net::GpuBackend;
use motion_net::config::MAXIMUM_PIXELS;
use motion_net::weights::{ParameterSource, Role};
use motion_net::{
    Backend, Config, CpuBackend, Estimation, Estimator, HostTensor, Mode, MsNet, Pass, StageMaps, Step,
    Weights, config, read_maps,
};

use crate::output::note;
use crate::progress::Progress;

/// Longest `config.json`, in bytes; 100,000 labels fit.
const MAX_CONFIG: u64 = 1 << 24;

#[cfg(feature = "gpu")]
mod gpu;

/// Which model, and where it runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct ModelArgs {
    /// Folder with config.json and model.safetensors
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// Where the network runs
    #[arg(long, value_enum, default_value_t)]
    pub(crate) backend: BackendName,
    /// How the graphics card keeps the weights of convolutions; sums are f32 in both
    #[arg(long, value_enum, default_value_t)]
    pub(crate) precision: PrecisionName,
    /// Weights are made up: a folder needs no more than config.json.
    #[arg(skip)]
    pub(crate) made_up: bool,
}

/// Where the network can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum BackendName {
    /// The faster of both, by a small probe
    Auto,
    /// The processor
    #[default]
    Cpu,
    /// The graphics card, through Vulkan, Metal or DirectX 12
    Gpu,
}

/// How a graphics card can keep weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum PrecisionName {
    /// As they are
    #[default]
    F32,
    /// In half the bytes, where the card knows 16-bit numbers
    F16,
}

/// How correlation becomes displacement, where it is to differ from the model's config.json.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct EstimationArgs {
    /// Estimator of the displacement [default: the model's]
    #[arg(long, value_enum)]
    pub(crate) estimator: Option<EstimatorName>,
    /// Width of the Gaussian around the best match, in cells [default: the model's]
    #[arg(long, value_name = "CELLS")]
    pub(crate) sigma: Option<f64>,
    /// Softmax temperature; smaller is sharper [default: the model's]
    #[arg(long, value_name = "TAU")]
    pub(crate) temperature: Option<f64>,
    /// Side P of the search window in cells, odd [default: the model's]
    #[arg(long, value_name = "P")]
    pub(crate) patch: Option<usize>,
}

/// The paper's two estimators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EstimatorName {
    /// Kernel-soft-argmax (paper, Eq. 3 and 4)
    Kernel,
    /// Soft-argmax (paper, Eq. 2)
    Soft,
}

impl EstimationArgs {
    /// The model's own estimation with what was asked for in its place.
    ///
    /// # Errors
    /// For a window that is even or too large, and a sigma or temperature that is not positive.
    pub(crate) fn over(&self, config: &Config) -> Result<Estimation> {
        let own = config.motion.as_ref().map(config::MotionConfig::estimation).unwrap_or_default();
        let estimator = self.estimator.map(|name| match name {
            EstimatorName::Kernel => Estimator::Kernel,
            EstimatorName::Soft => Estimator::Soft,
        });
        let estimation = Estimation {
            estimator: estimator.unwrap_or(own.estimator),
            patch: self.patch.unwrap_or(own.patch),
            sigma: self.sigma.unwrap_or(own.sigma),
            temperature: self.temperature.unwrap_or(own.temperature),
        };
        estimation.check()?;
        Ok(estimation)
    }
}

/// A network ready to run.
pub(crate) struct Model<B: Backend> {
    /// The network.
    pub(crate) net: MsNet<B>,
    /// What it runs on.
    pub(crate) backend: B,
    /// How frames become its input.
    pub(crate) preprocess: Preprocess,
}

/// What a forward pass found, and how long each part of it took.
pub(crate) struct Run<T> {
    /// The pass, as far as it was asked to go.
    pub(crate) pass: Pass<T>,
    /// Name of a stage (or `classifier`) and its time.
    pub(crate) times: Vec<(String, Duration)>,
}

/// A model on the backend that was asked for.
pub(crate) enum AnyModel {
    /// On the processor.
    Cpu(Box<Model<CpuBackend>>),
    /// On the graphics card.
    #[cfg(feature = "gpu")]
    Gpu(Box<Model<GpuBackend>>),
}

/// Runs `$work` with `$model` as the [`Model`] that was asked for, whatever it runs on.
macro_rules! with_model {
    ($args:expr, |$model:ident| $work:expr) => {
        match $crate::model::AnyModel::load($args)? {
            $crate::model::AnyModel::Cpu($model) => $work,
            #[cfg(feature = "gpu")]
            $crate::model::AnyModel::Gpu($model) => $work,
        }
    };
}
pub(crate) use with_model;

impl AnyModel {
    /// Reads a model folder.
    ///
    /// # Errors
    /// As [`Model::load`], and when the backend that was asked for is not to be had.
    pub(crate) fn load(args: &ModelArgs) -> Result<Self> {
        ensure!(
            args.backend != BackendName::Cpu || args.precision == PrecisionName::F32,
            "--precision f16 is for graphics cards, the processor keeps f32; add --backend gpu, or leave it out"
        );
        match args.backend {
            BackendName::Cpu => Ok(Self::Cpu(Box::new(Model::load(args, CpuBackend::new())?))),
            #[cfg(feature = "gpu")]
            BackendName::Gpu => Ok(Self::Gpu(Box::new(gpu::load(args)?))),
            #[cfg(feature = "gpu")]
            BackendName::Auto => gpu::faster(args),
            #[cfg(not(feature = "gpu"))]
            BackendName::Gpu | BackendName::Auto => anyhow::bail!(
                "this motionlens was built without graphics cards; build it with --features gpu, or use --backend cpu"
            ),
        }
    }
}

impl<B: Backend> Model<B> {
    /// Reads a model folder.
    ///
    /// # Errors
    /// When a file is missing or unreadable, the configuration is wrong, or the weights do not fit it.
    pub(crate) fn load(args: &ModelArgs, backend: B) -> Result<Self> {
        let folder = &args.model;
        let _progress = Progress::wait(&format!("loading {}", folder.display()));
        let config = read_config(folder)?;
        let net = match args.made_up {
            true => MsNet::build(&backend, config, &mut MadeUp(&backend)),
            false => MsNet::load(&backend, config, read_weights(&folder.join("model.safetensors"))?),
        };
        let net = net.with_context(|| format!("model {}", folder.display()))?;
        if !net.unused_motion_weights().is_empty() {
            note(&format!(
                "model {}: {} tensors of motion modules are left out, because config.json does not name their stage",
                folder.display(),
                net.unused_motion_weights().len()
            ));
        }
        let config = net.config();
        let preprocess = Preprocess {
            resize: config.resize,
            input_size: config.input_size,
            mean: config.mean,
            std: config.std,
        };
        Ok(Self { net, backend, preprocess })
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> &Config {
        self.net.config()
    }

    /// Its way of choosing frames.
    pub(crate) fn sampling(&self) -> Sampling {
        match self.config().sampling {
            config::Sampling::Segment => Sampling::Segment,
            config::Sampling::Dense => Sampling::Dense,
        }
    }

    /// The words of a class.
    pub(crate) fn label(&self, class: usize) -> &str {
        self.config().id2label.get(&class).map_or("", String::as_str)
    }

    /// A clip `[1, T, H, W, 3]` from what the network sees of T frames ([`Preprocess::view`]).
    ///
    /// # Errors
    /// When it does not fit in memory.
    pub(crate) fn clip<'a>(&self, views: impl IntoIterator<Item = &'a Frame>) -> Result<HostTensor> {
        let views: Vec<Frame> = views.into_iter().cloned().collect();
        let clip = self.preprocess.clip_of_views(&views)?;
        let [t, height, width, channels] = clip.shape;
        Ok(HostTensor::new([1, t, height, width, channels], clip.data)?)
    }

    /// Runs one clip `[1, T, H, W, 3]` to the end.
    ///
    /// # Errors
    /// When the clip does not fit the network or the backend fails.
    pub(crate) fn run(&self, clip: &HostTensor, estimation: &Estimation) -> Result<Run<B::Tensor>> {
        self.run_while(clip, estimation, |_, _| Ok(true))
    }

    /// Runs one clip as long as `goes_on` says so, which is asked after every step.
    fn run_while(
        &self,
        clip: &HostTensor,
        estimation: &Estimation,
        mut goes_on: impl FnMut(&Pass<B::Tensor>, Step) -> Result<bool>,
    ) -> Result<Run<B::Tensor>> {
        if let &[_, t, height, width, _] = clip.shape.as_slice() {
            ensure!(
                t.saturating_mul(height).saturating_mul(width) <= MAXIMUM_PIXELS,
                "out of memory: a clip of {t} x {height} x {width} pixels is more than the {MAXIMUM_PIXELS} that are \
                 accepted; use smaller or fewer frames"
            );
        }
        let mut pass = self.net.begin(&self.backend, clip)?;
        let (mut times, mut begun) = (Vec::new(), Instant::now());
        while let Some(step) = self.net.advance(&self.backend, &mut pass, estimation, Mode::EVAL)? {
            let name = match step {
                Step::Stage { index, .. } => self.net.stage_names().nth(index).unwrap_or_default(),
                Step::Classifier => "classifier",
            };
            times.push((name.to_owned(), begun.elapsed()));
            begun = Instant::now();
            if !goes_on(&pass, step)? {
                break;
            }
        }
        Ok(Run { pass, times })
    }

    /// The scores `[B, K]` of a pass that went to the end.
    ///
    /// # Errors
    /// When it did not, or the backend fails.
    pub(crate) fn logits(&self, pass: &Pass<B::Tensor>) -> Result<HostTensor> {
        let logits = pass.logits().context("the pass stopped before the classifier")?;
        self.read(logits)
    }

    /// The maps of these stages, which ascend: those of their modules, or probes where they have none. The network runs
    /// as far as the last of them.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn maps(
        &self,
        clip: &HostTensor,
        stages: &[usize],
        estimation: &Estimation,
    ) -> Result<Vec<StageMaps>> {
        let mut all = Vec::new();
        self.run_while(clip, estimation, |pass, step| {
            if let Step::Stage { index, .. } = step
                && stages.contains(&index)
            {
                all.push(self.stage_maps(pass, index, estimation)?);
            }
            Ok(all.len() < stages.len())
        })?;
        Ok(all)
    }

    /// The maps of the stage that has just run.
    fn stage_maps(&self, pass: &Pass<B::Tensor>, stage: usize, estimation: &Estimation) -> Result<StageMaps> {
        let name = self.net.stage_names().nth(stage).context("no such stage")?;
        let probe;
        let found = match pass.motion(stage) {
            Some(motion) => &motion.forward,
            None => {
                let features = pass.features(stage).context("the pass has left this stage behind")?;
                probe = self.net.probe(&self.backend, features, pass.frames, estimation)?;
                &probe
            }
        };
        Ok(pollster::block_on(read_maps(&self.backend, name, estimation.radius(), found))?)
    }

    /// Numbers from the backend.
    ///
    /// # Errors
    /// When the backend fails.
    pub(crate) fn read(&self, tensor: &B::Tensor) -> Result<HostTensor> {
        Ok(pollster::block_on(self.backend.read(tensor))?)
    }
}

/// Weights of no meaning, of the size that keeps activations about as large as they are: for timing a network that
/// nobody has trained.
struct MadeUp<'a, B>(&'a B);

impl<B: Backend> ParameterSource<B> for MadeUp<'_, B> {
    fn parameter(&mut self, _: &str, shape: &[usize], role: Role) -> motion_net::Result<B::Parameter> {
        let count: usize = shape.iter().product();
        let inputs = (count / shape[0].max(1)).max(1) as f32;
        let value = |i: usize| match role {
            Role::Weight => {
                // Some hash, for equal filters would make ties between matches.
                let z = (i as u32 + 1).wrapping_mul(0x9e37_79b9);
                let z = (z ^ (z >> 16)).wrapping_mul(0x85eb_ca6b);
                let z = (z ^ (z >> 13)) as f32 / u32::MAX as f32 - 0.5;
                z * (24.0 / inputs).sqrt()
            }
            Role::NormScale | Role::RunningVariance => 1.0,
            Role::Bias | Role::NormShift | Role::RunningMean => 0.0,
        };
        self.0.parameter(HostTensor::new(shape, (0..count).map(value).collect())?)
    }
}

/// Reads and checks a folder's `config.json`.
///
/// # Errors
/// When there is no such folder or file, or the configuration is wrong.
pub(crate) fn read_config(folder: &Path) -> Result<Config> {
    let model = || format!("model {}", folder.display());
    ensure!(
        folder.is_dir(),
        "{}: no such folder, expected one with config.json and model.safetensors; `motionlens convert` makes one \
         from a checkpoint",
        model()
    );
    let path = folder.join("config.json");
    let length = std::fs::metadata(&path).with_context(|| missing(&path))?.len();
    ensure!(length <= MAX_CONFIG, "{}: {length} bytes, expected a short JSON file", path.display());
    let json = std::fs::read_to_string(&path).with_context(|| missing(&path))?;
    Config::from_json(&json).with_context(model)
}

/// Reads a folder's `model.safetensors`.
///
/// # Errors
/// When there is no such file, or it holds something else.
pub(crate) fn read_weights(path: &Path) -> Result<Weights> {
    let bytes = std::fs::read(path).with_context(|| missing(path))?;
    Weights::from_safetensors(&bytes).with_context(|| path.display().to_string())
}

fn missing(path: &Path) -> String {
    format!("cannot read {}; a model folder has config.json and model.safetensors", path.display())
}
