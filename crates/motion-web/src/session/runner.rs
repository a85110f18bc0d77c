//! A network on one backend, with the pass that it is in; and the probe that compares two of them.

use std::rc::Rc;

use motion_net::config::{Config, MINIMUM_SIDE};
use motion_net::{
    Backend, CpuBackend, Estimation, GpuBackend, HostTensor, Match, Mode, MsNet, Pass, StageMaps, Step,
    Weights, read_maps,
};

use super::now;
use crate::Result;

/// A backend that is so many times slower on the smallest clip is not asked for a larger one.
const HOPELESS: f64 = 4.0;
/// How long the user waits for the forms of convolution to be measured, the first time that a card is used: the last
/// one that is begun then is ended.
const TUNING_MS: f64 = 2000.0;
/// Scores of the two backends differ by rounding, and a little more where two matches are all but equal: this share of
/// the largest score is neither.
const AGREEMENT: f32 = 0.02;

/// A network, where it runs, and how far it is with the clip.
pub(super) struct Runner<B: Backend> {
    pub(super) backend: Rc<B>,
    pub(super) net: MsNet<B>,
    pass: Option<Pass<B::Tensor>>,
}

/// What a file of results holds of a motion module, each `[N, H, W, C]`.
pub(super) struct Saved {
    pub(super) displacement: HostTensor,
    pub(super) confidence: HostTensor,
    pub(super) argmax: HostTensor,
    pub(super) motion: HostTensor,
}

/// Unit-length features of every frame but the last one and of the next, `[N, h, w, c]` each.
pub(super) type Compared = (HostTensor, HostTensor);

/// Times of a small clip in milliseconds.
pub(super) struct Probe {
    /// Side of the clip in pixels.
    pub(super) side: usize,
    /// The graphics card's very first run, which waits for its kernels to be compiled.
    pub(super) first: f64,
    /// A later one.
    pub(super) gpu: f64,
    pub(super) cpu: f64,
}

impl<B: Backend> Runner<B> {
    pub(super) fn load(backend: Rc<B>, config: Config, weights: Weights) -> Result<Self> {
        let net = MsNet::load(&*backend, config, weights)?;
        Ok(Self { backend, net, pass: None })
    }

    /// Takes up a clip, `[1, T, H, W, 3]`; nothing has run yet.
    pub(super) fn begin(&mut self, clip: &HostTensor) -> Result<()> {
        self.pass = Some(self.net.begin(&*self.backend, clip)?);
        Ok(())
    }

    /// The same, of one that is on the backend already, `[T, H, W, 3]`.
    pub(super) fn begin_on(&mut self, clip: B::Tensor) -> Result<()> {
        self.pass = Some(self.net.begin_on(&*self.backend, clip)?);
        Ok(())
    }

    pub(super) fn forget(&mut self) {
        self.pass = None;
    }

    pub(super) fn has_clip(&self) -> bool {
        self.pass.is_some()
    }

    pub(super) fn rewind_to_motion(&mut self) {
        if let Some(pass) = &mut self.pass {
            pass.rewind_to_motion();
        }
    }

    /// Stages that have run, unless nothing is left to run.
    pub(super) fn stages_run(&self) -> Option<usize> {
        self.pass.as_ref().filter(|pass| pass.scores.is_none()).map(Pass::stages_run)
    }

    pub(super) fn has_motion(&self, index: usize) -> bool {
        self.pass.as_ref().is_some_and(|pass| pass.motion(index).is_some())
    }

    pub(super) fn advance(&mut self, estimation: &Estimation) -> Result<Option<Step>> {
        let Some(pass) = &mut self.pass else { return Ok(None) };
        Ok(self.net.advance(&*self.backend, pass, estimation, Mode::EVAL)?)
    }

    /// Maps of a stage that has run, on the host and on the backend; a probe where it has no module.
    pub(super) async fn maps(
        &self,
        index: usize,
        estimation: &Estimation,
        clip: impl FnOnce() -> Result<B::Tensor>,
    ) -> Result<Option<(StageMaps, Match<B::Tensor>)>> {
        let b = &*self.backend;
        let found = match self.pass.as_ref().and_then(|pass| pass.motion(index)) {
            Some(motion) => motion.forward.clone(),
            None => match self.compared(index, estimation, clip)? {
                Some((now, next)) => b.match_frames(&now, &next, estimation)?,
                None => return Ok(None),
            },
        };
        let stage = self.net.stage_names().nth(index).unwrap_or_default();
        let maps = read_maps(b, stage, estimation.radius(), &found).await?;
        Ok(Some((maps, found)))
    }

    /// What a stage that has run compares, or what a probe of it does. A stage without a module that the pass has left
    /// behind runs again for that, over the clip.
    fn compared(
        &self,
        index: usize,
        estimation: &Estimation,
        clip: impl FnOnce() -> Result<B::Tensor>,
    ) -> Result<Option<(B::Tensor, B::Tensor)>> {
        let Some(pass) = &self.pass else { return Ok(None) };
        let b = &*self.backend;
        if let Some(motion) = pass.motion(index) {
            return Ok(Some(motion.compared.clone()));
        }
        let anew;
        let features = match pass.features(index) {
            Some(features) => features,
            None => {
                anew = self.net.features_from(b, self.net.begin_on(b, clip()?)?, index, estimation)?;
                &anew
            }
        };
        Ok(Some(self.net.probed(b, features, pass.frames)?))
    }

    /// The same on the host.
    pub(super) async fn compared_here(
        &self,
        index: usize,
        estimation: &Estimation,
        clip: impl FnOnce() -> Result<B::Tensor>,
    ) -> Result<Option<Compared>> {
        let Some((now, next)) = self.compared(index, estimation, clip)? else { return Ok(None) };
        Ok(Some((self.backend.read(&now).await?, self.backend.read(&next).await?)))
    }

    /// Scores of the clip, once the pass is through.
    pub(super) async fn logits(&self) -> Result<Option<Vec<f32>>> {
        let Some(logits) = self.pass.as_ref().and_then(Pass::logits) else { return Ok(None) };
        Ok(Some(self.backend.read(logits).await?.data))
    }

    /// Where in the frames each class was seen, `[T, h, w, K]`, once the pass is through.
    pub(super) async fn class_activation(&self) -> Result<Option<HostTensor>> {
        let Some(pass) = &self.pass else { return Ok(None) };
        Ok(self.net.class_activation(&*self.backend, pass).await?)
    }

    pub(super) async fn saved(&self, index: usize) -> Result<Option<Saved>> {
        let Some(motion) = self.pass.as_ref().and_then(|pass| pass.motion(index)) else { return Ok(None) };
        let found = &motion.forward;
        Ok(Some(Saved {
            displacement: self.backend.read(&found.displacement).await?,
            confidence: self.backend.read(&found.confidence).await?,
            argmax: self.backend.read(&found.argmax).await?,
            motion: self.backend.read(&motion.features).await?,
        }))
    }

    /// Scores of clips `[N, T, H, W, 3]`, all at once.
    pub(super) async fn logits_of(&self, clips: &HostTensor, estimation: &Estimation) -> Result<Vec<f32>> {
        let pass = self.net.forward(&*self.backend, clips, estimation)?;
        match pass.logits() {
            Some(logits) => Ok(self.backend.read(logits).await?.data),
            None => Ok(Vec::new()),
        }
    }

    /// Scores of a clip, and how long they took in milliseconds: the first time, and the faster of two more.
    async fn timed(&self, clip: &HostTensor, estimation: &Estimation) -> Result<(Vec<f32>, f64, f64)> {
        let mut times = [0.0; 3];
        let mut logits = Vec::new();
        for time in &mut times {
            let began = now();
            logits = self.logits_of(clip, estimation).await?;
            *time = now() - began;
        }
        let [first, second, third] = times;
        Ok((logits, first, second.min(third)))
    }
}

impl Runner<GpuBackend> {
    /// Finds the fastest form of each convolution of a clip of the network's own size, where that was not measured
    /// before, for about as long as is given; how many it measured. Makes all kernels that such a clip needs.
    ///
    /// # Errors
    /// When the graphics card fails.
    pub(super) async fn tune(&self, estimation: &Estimation) -> Result<usize> {
        let Config { input_size: side, frames, .. } = *self.net.config();
        let clip = HostTensor::new([1, frames, side, side, 3], vec![0.0; frames * side * side * 3])?;
        let rehearse = || self.backend.rehearse(|| self.net.forward(&*self.backend, &clip, estimation));
        rehearse()?;
        let began = now();
        let measured = self.backend.tune(|| now() - began < TUNING_MS).await?;
        if measured > 0 {
            // Those that are fastest may be others.
            rehearse()?;
        }
        Ok(measured)
    }
}

impl Probe {
    /// Whether tuning cannot make the card the faster one.
    pub(super) fn is_hopeless(&self) -> bool {
        self.speed() < 1.0 / HOPELESS
    }

    /// Runs small clips on both, the larger one only where the smaller leaves it open which is faster.
    ///
    /// # Errors
    /// When a backend fails, or the graphics card's scores are not those of the CPU.
    pub(super) async fn run(
        cpu: &Runner<CpuBackend>,
        gpu: &Runner<GpuBackend>,
        estimation: &Estimation,
    ) -> Result<Self> {
        let Config { input_size, frames, .. } = *cpu.net.config();
        let [small, large] = [4, 2].map(|part| (input_size / part).max(MINIMUM_SIDE));
        let mut probe = Self::at(small, frames, cpu, gpu, estimation).await?;
        if (1.0 / HOPELESS..HOPELESS).contains(&(probe.gpu / probe.cpu)) {
            let first = probe.first;
            probe = Self { first, ..Self::at(large, frames, cpu, gpu, estimation).await? };
        }
        Ok(probe)
    }

    async fn at(
        side: usize,
        frames: usize,
        cpu: &Runner<CpuBackend>,
        gpu: &Runner<GpuBackend>,
        estimation: &Estimation,
    ) -> Result<Self> {
        // Waves: something to see everywhere, different in every frame.
        let data = (0..frames * side * side * 3).map(|i| (i as f32 * 0.37).sin()).collect();
        let clip = HostTensor::new([1, frames, side, side, 3], data)?;
        let (found, first, gpu) = gpu.timed(&clip, estimation).await?;
        let (expected, _, cpu) = cpu.timed(&clip, estimation).await?;
        check_agreement(&found, &expected)?;
        Ok(Self { side, first, gpu, cpu })
    }

    /// The graphics card's speed in units of the CPU's.
    pub(super) fn speed(&self) -> f64 {
        self.cpu / self.gpu.max(1e-3)
    }
}

/// Whether a card computes what the CPU computes.
fn check_agreement(found: &[f32], expected: &[f32]) -> Result<()> {
    let largest = expected.iter().fold(1_f32, |most, value| most.max(value.abs()));
    let agree = |(a, b): (&f32, &f32)| (a - b).abs() <= AGREEMENT * largest;
    if found.len() == expected.len() && found.iter().zip(expected).all(agree) {
        return Ok(());
    }
    let message = "its numbers are not those of the CPU; a newer graphics driver may help".to_owned();
    Err(motion_net::Error::Backend { backend: "gpu", message }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_that_computes_something_else_is_refused() {
        assert!(check_agreement(&[1.0, -20.0], &[1.001, -20.01]).is_ok());
        assert!(check_agreement(&[0.0, 0.0], &[1.0, -20.0]).is_err());
        assert!(check_agreement(&[f32::NAN, -20.0], &[1.0, -20.0]).is_err());
        assert!(check_agreement(&[1.0], &[1.0, -20.0]).is_err());
    }
}
