//! Displacement: correlation `[N, H, W, P*P]` in; displacement, confidence and best match of each position out.
//!
//! The best match and the Gaussian around it are constants to the gradient; it flows through the scores of the
//! softmax and through the largest correlation (published code; paper, Eq. 2 to 4).

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use motion_kernels::{Displacement, Found};

use super::correlation::search;
use super::learnt;
use super::values::{tensor, values, zeros};
use crate::Result;
use crate::backend::Match;
use crate::config::{Estimation, Estimator};
use crate::plain::check_scores;

/// See [`crate::Backend::displacement`].
pub(super) fn displacement(scores: &Tensor, estimation: &Estimation) -> Result<Match<Tensor>> {
    let estimate = kernel(estimation)?;
    let size = check_scores(scores, estimation.patch)?;
    let scores = scores.contiguous()?;
    let mut maps = Maps::new(size)?;
    estimate.run(&values(&scores)?, maps.found());
    if !learnt(&scores) {
        return maps.finish();
    }
    let found = scores.apply_op1(Estimated { kernel: estimate, found: maps.side_by_side() })?;
    Ok(Match {
        displacement: found.narrow(3, 0, 2)?.contiguous()?,
        confidence: found.narrow(3, 2, 1)?.contiguous()?,
        argmax: maps.finish()?.argmax,
    })
}

/// See [`crate::Backend::match_frames`]: the correlation of one line at a time, never stored.
pub(super) fn match_frames(
    first: &Tensor,
    second: &Tensor,
    estimation: &Estimation,
) -> Result<Match<Tensor>> {
    let estimate = kernel(estimation)?;
    let search = search("match_frames", first, second, estimation.patch)?;
    let (first, second) = (first.contiguous()?, second.contiguous()?);
    let mut maps = Maps::new([search.n, search.h, search.w])?;
    estimate.search(&search, &values(&first)?, &values(&second)?, maps.found());
    maps.finish()
}

fn kernel(estimation: &Estimation) -> Result<Displacement> {
    estimation.check()?;
    let sigma = (estimation.estimator == Estimator::Kernel).then_some(estimation.sigma);
    Ok(Displacement::new(estimation.patch, estimation.temperature, sigma))
}

/// What is found, map by map.
struct Maps {
    size: [usize; 3],
    displacement: Vec<f32>,
    confidence: Vec<f32>,
    argmax: Vec<f32>,
}

impl Maps {
    fn new(size: [usize; 3]) -> Result<Self> {
        let positions = size.iter().product();
        Ok(Self {
            size,
            displacement: zeros(2 * positions)?,
            confidence: zeros(positions)?,
            argmax: zeros(positions)?,
        })
    }

    fn found(&mut self) -> Found<'_> {
        let Self { displacement, confidence, argmax, .. } = self;
        Found { displacement, confidence, argmax }
    }

    /// `[N, H, W, 3]`: dx, dy, confidence.
    fn side_by_side(&self) -> Vec<f32> {
        let pairs = self.displacement.chunks_exact(2).zip(&self.confidence);
        pairs.flat_map(|(displacement, confidence)| [displacement[0], displacement[1], *confidence]).collect()
    }

    fn finish(self) -> Result<Match<Tensor>> {
        let [n, h, w] = self.size;
        Ok(Match {
            displacement: tensor(self.displacement, &[n, h, w, 2])?,
            confidence: tensor(self.confidence, &[n, h, w, 1])?,
            argmax: tensor(self.argmax, &[n, h, w, 1])?,
        })
    }
}

/// What was found, as an operation that knows the way back.
struct Estimated {
    kernel: Displacement,
    /// `[N, H, W, 3]`: dx, dy, confidence.
    found: Vec<f32>,
}

impl CustomOp1 for Estimated {
    fn name(&self) -> &'static str {
        "displacement"
    }

    fn cpu_fwd(&self, _scores: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (n, h, w, _) = layout.shape().dims4()?;
        Ok((CpuStorage::F32(self.found.clone()), Shape::from((n, h, w, 3))))
    }

    fn bwd(&self, scores: &Tensor, _found: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        learns!();
        let grad = grad.contiguous()?;
        let (all, grad) = (values(scores)?, values(&grad)?);
        let mut out = zeros(all.len())?;
        self.kernel.gradient(&all, &grad, &mut out);
        tensor(out, scores.dims()).map(Some)
    }
}
