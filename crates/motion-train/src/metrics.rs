//! Scores in, figures out: accuracy, by class and over all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::flow_figures::StageFlow;

/// How right a model is on a set of clips.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    /// Share of clips whose best class is the true one, 0 to 1.
    pub top1: f64,
    /// Share of clips whose true class is among the best five, 0 to 1.
    pub top5: f64,
    /// How many clips.
    pub clips: usize,
    /// Videos that could not be read, beside those clips; absent where the set is none of videos.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<usize>,
    /// `top1` by class.
    pub per_class: BTreeMap<String, f64>,
    /// Mean end-point error in cells of the first model's first motion stage; absent where there is no true flow or no
    /// motion module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epe_cells: Option<f64>,
    /// The same for a map of zeros.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zero_epe_cells: Option<f64>,
    /// The errors of every motion stage of every model against the true flow; empty where there is none.
    pub flow: Vec<StageFlow>,
    /// Class names in the order of the labels.
    #[serde(skip)]
    pub labels: Vec<String>,
    /// `confusion[truth][guess]`: number of clips.
    pub confusion: Vec<Vec<usize>>,
}

/// Counts clips one by one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Confusion {
    counts: Vec<Vec<usize>>,
    top5: usize,
}

impl Confusion {
    /// No clips yet, of so many classes.
    pub fn new(classes: usize) -> Self {
        Self { counts: vec![vec![0; classes]; classes], top5: 0 }
    }

    /// Counts one clip by its scores.
    pub fn add(&mut self, truth: usize, logits: &[f32]) {
        let order = ranking(logits);
        self.counts[truth][order[0]] += 1;
        self.top5 += usize::from(order.iter().take(5).any(|&class| class == truth));
    }

    /// Share of clips whose best class is the true one.
    pub fn top1(&self) -> f64 {
        let right: usize = (0..self.counts.len()).map(|class| self.counts[class][class]).sum();
        share(right, self.clips())
    }

    fn clips(&self) -> usize {
        self.counts.iter().flatten().sum()
    }

    /// All figures.
    pub fn evaluation(self, labels: &[String], flow: Vec<StageFlow>) -> Evaluation {
        let per_class = labels
            .iter()
            .zip(&self.counts)
            .enumerate()
            .map(|(class, (label, row))| (label.clone(), share(row[class], row.iter().sum())))
            .collect();
        let first = flow.first().map(|stage| stage.figures.all);
        Evaluation {
            top1: self.top1(),
            top5: share(self.top5, self.clips()),
            clips: self.clips(),
            skipped: None,
            per_class,
            epe_cells: first.and_then(|errors| errors.epe_cells),
            zero_epe_cells: first.and_then(|errors| errors.zero_epe_cells),
            flow,
            labels: labels.to_vec(),
            confusion: self.counts,
        }
    }
}

/// Classes from the likeliest to the least likely.
pub fn ranking(logits: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    order
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_three_clips() {
        let labels: Vec<String> = ["a", "b"].map(str::to_owned).to_vec();
        let mut confusion = Confusion::new(2);
        confusion.add(0, &[2.0, 1.0]);
        confusion.add(1, &[2.0, 1.0]);
        confusion.add(1, &[0.0, 1.0]);
        let figures = confusion.evaluation(&labels, Vec::new());
        assert_eq!((figures.clips, figures.top5), (3, 1.0));
        assert!((figures.top1 - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(figures.confusion, [[1, 0], [1, 1]]);
        assert_eq!(figures.per_class["b"], 0.5);
        assert_eq!(figures.epe_cells, None);
    }
}
