//! Ours beside PyTorch's: two tensors in, the largest difference and a verdict out.

use std::collections::BTreeMap;
use std::fmt;

use motion_net::HostTensor;

/// What a comparison found.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The largest absolute difference that was not masked; infinite for shapes that differ and for NaN.
    pub largest: f32,
    /// How much was allowed.
    pub tolerance: f32,
    /// Number of values that were not judged.
    pub masked: usize,
}

impl Difference {
    /// Whether the tensors are the same but for rounding.
    pub fn passes(&self) -> bool {
        self.largest <= self.tolerance
    }
}

/// Compares value by value. `masked` tells by index which values are not judged.
pub fn compare(
    found: &HostTensor,
    expected: &HostTensor,
    tolerance: f32,
    masked: impl Fn(usize) -> bool,
) -> Difference {
    if found.shape != expected.shape {
        return Difference { largest: f32::INFINITY, tolerance, masked: 0 };
    }
    let (mut largest, mut skipped) = (0.0_f32, 0);
    for (index, (found, expected)) in found.data.iter().zip(&expected.data).enumerate() {
        if masked(index) {
            skipped += 1;
            continue;
        }
        let difference = (found - expected).abs();
        largest = if difference.is_nan() { f32::INFINITY } else { largest.max(difference) };
    }
    Difference { largest, tolerance, masked: skipped }
}

/// Every comparison of a test, for its table and its verdict.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<(String, String, Difference)>,
}

impl Report {
    /// Takes down one comparison: what kind of tensor, of which case.
    pub fn add(&mut self, kind: &str, case: &str, difference: Difference) {
        self.rows.push((kind.to_owned(), case.to_owned(), difference));
    }

    /// Whether every comparison passed.
    ///
    /// # Errors
    /// When one failed or there was none; lists every failure.
    pub fn verdict(&self) -> Result<(), String> {
        if self.rows.is_empty() {
            return Err("nothing was compared".into());
        }
        let failures: Vec<String> = self
            .rows
            .iter()
            .filter(|(.., difference)| !difference.passes())
            .map(|(kind, case, d)| {
                format!("{case}: {kind} differs by {:e}, allowed {:e}", d.largest, d.tolerance)
            })
            .collect();
        if failures.is_empty() {
            return Ok(());
        }
        Err(format!("{} of {} differ:\n{}", failures.len(), self.rows.len(), failures.join("\n")))
    }

    /// # Panics
    /// Where [`Self::verdict`] is an error.
    pub fn judge(&self) {
        if let Err(failures) = self.verdict() {
            panic!("{failures}");
        }
    }
}

impl fmt::Display for Report {
    /// The largest difference of each kind of tensor, with the share of its tolerance that the worst case uses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: BTreeMap<&str, (usize, f32, f32, usize)> = BTreeMap::new();
        for (kind, _, difference) in &self.rows {
            let (count, largest, share, masked) = kinds.entry(kind).or_default();
            *count += 1;
            *largest = largest.max(difference.largest);
            if difference.tolerance > 0.0 {
                *share = share.max(difference.largest / difference.tolerance);
            }
            *masked += difference.masked;
        }
        writeln!(
            f,
            "{:<34} {:>7} {:>12} {:>16} {:>8}",
            "tensor", "cases", "largest", "of tolerance", "masked"
        )?;
        for (kind, (count, largest, share, masked)) in kinds {
            writeln!(f, "{kind:<34} {count:>7} {largest:>12.1e} {:>14.0} % {masked:>8}", share * 100.0)?;
        }
        Ok(())
    }
}
