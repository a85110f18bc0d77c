//! The way back through a convolution: gradients of what came in, of the weight and of the bias.

use crate::shape::Shape;
use crate::simd::Level;

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

    /// Values that came in.
    pub(crate) fn inputs(&self) -> usize {
        self.size.iter().product::<usize>() * self.shape.input
    }
}
