//! What a forward pass lets us see, on the host: a backend's [`Match`] in, plain numbers out.

use crate::backend::{Backend, Match};
use crate::{Error, Result};

/// Displacement and confidence maps of one stage, frame pair by frame pair.
#[derive(Debug, Clone, PartialEq)]
pub struct StageMaps {
    /// `res3`, `stage3`, ...
    pub stage: String,
    /// Number of frame pairs, T - 1 for each clip.
    pub pairs: usize,
    /// (height, width) of a map in cells.
    pub grid: [usize; 2],
    /// (P - 1) / 2: a displacement of 1 is so many cells.
    pub radius: usize,
    /// `[pairs, h, w, 2]`: (dx, dy), +x right, +y down, in units of the radius.
    pub displacement: Vec<f32>,
    /// `[pairs, h, w]`: the largest correlation.
    pub confidence: Vec<f32>,
    /// `[pairs, h, w]`: index of the best match in the P x P window, dy-major.
    pub argmax: Vec<f32>,
}

impl StageMaps {
    /// Displacements of one pair in cells, `[h, w, 2]`.
    pub fn cells(&self, pair: usize) -> Vec<f32> {
        let size = self.grid[0] * self.grid[1] * 2;
        self.displacement[pair * size..][..size].iter().map(|&d| d * self.radius as f32).collect()
    }

    /// Some of its pairs.
    pub fn of_pairs(&self, pairs: std::ops::Range<usize>) -> Self {
        let size = self.grid[0] * self.grid[1];
        let of = |values: &[f32], per_cell: usize| {
            values[pairs.start * size * per_cell..pairs.end * size * per_cell].to_vec()
        };
        Self {
            stage: self.stage.clone(),
            pairs: pairs.len(),
            displacement: of(&self.displacement, 2),
            confidence: of(&self.confidence, 1),
            argmax: of(&self.argmax, 1),
            ..*self
        }
    }

    /// Puts the pairs of `more`, of the same stage, behind its own.
    pub fn append(&mut self, more: Self) {
        self.pairs += more.pairs;
        self.displacement.extend(more.displacement);
        self.confidence.extend(more.confidence);
        self.argmax.extend(more.argmax);
    }

    /// Displacements of one pair, `[h, w, 2]`.
    pub fn displacements(&self, pair: usize) -> &[f32] {
        let size = 2 * self.grid[0] * self.grid[1];
        &self.displacement[pair * size..][..size]
    }

    /// Confidences of one pair, `[h, w]`.
    pub fn confidences(&self, pair: usize) -> &[f32] {
        let size = self.grid[0] * self.grid[1];
        &self.confidence[pair * size..][..size]
    }
}

/// Brings the maps of one stage to the host.
///
/// # Errors
/// When the backend fails.
pub async fn read_maps<B: Backend>(
    b: &B,
    stage: &str,
    radius: usize,
    found: &Match<B::Tensor>,
) -> Result<StageMaps> {
    let displacement = b.read(&found.displacement).await?;
    let &[pairs, height, width, 2] = displacement.shape.as_slice() else {
        let expected = "[pairs, h, w, 2]".to_owned();
        return Err(Error::Shape { operation: "read_maps", found: displacement.shape, expected });
    };
    Ok(StageMaps {
        stage: stage.to_owned(),
        pairs,
        grid: [height, width],
        radius,
        displacement: displacement.data,
        confidence: b.read(&found.confidence).await?.data,
        argmax: b.read(&found.argmax).await?.data,
    })
}
