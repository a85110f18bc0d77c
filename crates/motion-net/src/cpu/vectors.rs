//! Sums and maxima over a slice, in lanes side by side: a loop that the compiler may turn into vectors, which one
//! running sum in a fixed order may not become. The rounding is smaller, too.

/// Lanes: one vector of AVX-512, two of AVX2, four of SSE and of WebAssembly.
const LANES: usize = 16;

/// Sum of the products.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a, rest_a) = a.as_chunks::<LANES>();
    let (b, rest_b) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            sums[i] += a[i] * b[i];
        }
    }
    let rest: f32 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// Sum of the values.
#[inline(always)]
pub(super) fn sum(values: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (values, rest) = values.as_chunks::<LANES>();
    for values in values {
        for i in 0..LANES {
            sums[i] += values[i];
        }
    }
    sums.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// The largest value; minus infinity of none.
#[inline(always)]
pub(super) fn largest(values: &[f32]) -> f32 {
    let mut most = [f32::NEG_INFINITY; LANES];
    let (values, rest) = values.as_chunks::<LANES>();
    for values in values {
        for i in 0..LANES {
            most[i] = if values[i] > most[i] { values[i] } else { most[i] };
        }
    }
    most.iter().chain(rest).fold(f32::NEG_INFINITY, |most, value| most.max(*value))
}
