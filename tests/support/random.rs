//! Numbers that look random and are the same on every run: a seed in, a sequence out.

use motion_net::HostTensor;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }
}

/// Values in -1 ... 1, the same for the same seed.
pub fn tensor(shape: &[usize], seed: u64) -> HostTensor {
    let mut numbers = Random(seed);
    let data =
        (0..shape.iter().product()).map(|_| numbers.below(1 << 20) as f32 / (1 << 19) as f32 - 1.0).collect();
    HostTensor { shape: shape.to_vec(), data }
}
