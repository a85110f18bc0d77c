//! The way back through a convolution: gradients of what came in, of the weight and of the bias.

use crate::order::rearranged;
use crate::shape::Shape;
use crate::simd::{Level, vectorised};

/// Positions whose gradients one task adds up.
const POSITIONS: usize = 512;

/// What the gradients follow from.
#[derive(Clone, Copy)]
pub struct Gradient<'a> {
    /// The instructions to run on.
    pub level: Level,
    /// Lengths of the convolution.
    pub shape: Shape,
    /// Frames, lines and columns that came in.
    pub size: [usize; 3],
    /// Gradient of what went out, before its activation: `[n, h', w', C']`.
    pub grad: &'a [f32],
}

impl Gradient<'_> {
    pub(crate) fn check(&self) {
        self.level.check();
        let ([n, h, w], shape) = (self.size, self.shape);
        let length = n * shape.out(h) * shape.out(w) * shape.output;
        assert_eq!(self.grad.len(), length, "length of the gradient");
    }

    /// Gradient of the bias, `[C']`: the sum over all positions.
    ///
    /// # Panics
    /// When the gradient has not the length that the sizes ask for.
    pub fn bias(&self) -> Vec<f32> {
        self.check();
        let channels = self.shape.output;
        let positions = self.grad.len() / channels;
        // Parts that depend on the length alone, added up in their order.
        let parts = positions.div_ceil(POSITIONS);
        let sums = rearranged(parts, channels, |part, sums| {
            let end = ((part + 1) * POSITIONS).min(positions);
            let grad = &self.grad[part * POSITIONS * channels..end * channels];
            vectorised(|| {
                for grad in grad.chunks_exact(channels) {
                    for (sum, grad) in sums.iter_mut().zip(grad) {
                        *sum += grad;
                    }
                }
            });
        });
        (0..channels).map(|c| sums.iter().skip(c).step_by(channels).sum()).collect()
    }

    /// Values that came in.
    pub(crate) fn inputs(&self) -> usize {
        self.size.iter().product::<usize>() * self.shape.input
    }
}
