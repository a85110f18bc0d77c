//! Lengths of a convolution, and what limits its output.

/// The fixed part of a convolution. Padding is `kernel / 2` on every side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Channels that come in.
    pub input: usize,
    /// Channels that go out.
    pub output: usize,
    /// Side of the kernel, odd.
    pub kernel: usize,
    /// Step of the output grid.
    pub stride: usize,
}

impl Shape {
    /// Positions that go out along an axis of so many that come in.
    pub fn out(&self, length: usize) -> usize {
        (length - 1) / self.stride + 1
    }

    /// Values of one window.
    pub fn window(&self) -> usize {
        self.kernel * self.kernel * self.input
    }
}

/// An activation that cuts off below and above.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Nothing smaller goes out.
    pub low: f32,
    /// Nothing larger goes out.
    pub high: f32,
}

impl Limits {
    /// No activation.
    pub const NONE: Self = Self { low: f32::NEG_INFINITY, high: f32::INFINITY };
    /// max(x, 0).
    pub const RELU: Self = Self { low: 0.0, high: f32::INFINITY };
    /// min(max(x, 0), 6).
    pub const RELU6: Self = Self { low: 0.0, high: 6.0 };

    /// The activation of one value. What is no number stays so.
    #[inline(always)]
    pub fn apply(self, x: f32) -> f32 {
        let x = if x < self.low { self.low } else { x };
        if x > self.high { self.high } else { x }
    }
}
