//! Every instruction set of this machine against the sum as it stands in the paper.

mod support;

use motion_kernels::{Level, Search};
use proptest::prelude::*;
use support::numbers;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn correlation_is_the_product_of_each_pair_of_positions(
        (n, h, w, c) in (1_usize..3, 1_usize..20, 1_usize..20, 1_usize..20),
        (radius, seed) in (0_usize..10, any::<u32>()),
    ) {
        let patch = 2 * radius + 1;
        let (first, second) = (numbers(n * h * w * c, seed), numbers(n * h * w * c, seed ^ 1));
        let at = |map: &[f32], n: usize, y: usize, x: usize, k: usize| f64::from(map[((n * h + y) * w + x) * c + k]);
        let search = Search { n, h, w, c, patch };
        for level in Level::available() {
            let mut found = vec![f32::NAN; n * h * w * patch * patch];
            search.run_with_level(level, &first, &second, &mut found);
            for (i, scores) in found.chunks_exact(patch * patch).enumerate() {
                let (n, y, x) = (i / (h * w), i / w % h, i % w);
                for (k, score) in scores.iter().enumerate() {
                    let (y2, x2) = (y + k / patch, x + k % patch);
                    let inside = (radius..h + radius).contains(&y2) && (radius..w + radius).contains(&x2);
                    let expected: f64 = if inside {
                        (0..c).map(|k| at(&first, n, y, x, k) * at(&second, n, y2 - radius, x2 - radius, k)).sum()
                    } else {
                        0.0
                    };
                    let off = (f64::from(*score) - expected.max(0.0)).abs();
                    prop_assert!(off < 1e-5, "{level:?}: position {i}, neighbour {k}: {score}, expected {expected}");
                }
            }
        }
    }
}
