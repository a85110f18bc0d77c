//! What the ablations found. In: every run's accuracy. Out: a page of tables, a plot for each.

use super::{Ablations, Outcome, Row, Table, recipe};
use crate::peers::table;
use anyhow::{Context, Result};
use plotters::coord::ranged1d::{IntoSegmentedCoord, SegmentValue};
use plotters::prelude::*;
use std::path::Path;

/// Okabe and Ito's blue and orange, which most colour-blind people can tell apart.
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(213, 94, 0);

/// A row's accuracies, in per cent, a seed each.
struct Found<'a> {
    row: &'a Row,
    top1: Vec<f64>,
    top5: Vec<f64>,
    epe: Vec<f64>,
}

/// Writes `ablations.md` and a plot for each table that has a result.
pub(super) fn write(ablations: &Ablations, outcomes: &[Outcome], docs: &Path) -> Result<()> {
    let mut text = format!(
        "# Ablations\n\n`cargo xtask ablations` wrote this page: the questions of the paper's tables, asked of the synthetic \
         set. Every row of a table is trained in the same way, on as many clips for as many steps, {} times with other \
         random numbers; the test clips have surfaces, outlines and hues that no training clip has. The figures are mean and \
         standard deviation over the seeds. All of it is in \
         [`ablations.toml`](../crates/motion-train/ablations.toml); single results are in \
         [`ablations.json`](ablations.json).\n",
        ablations.seeds.len()
    );
    for part in &ablations.table {
        let found = found(ablations, part, outcomes)?;
        let plot = format!("ablations-{}.svg", part.key);
        text += &format!("\n## {}\n\n{}\n\n", part.title, part.about);
        let cells = found.iter().map(Found::cells);
        text += &table(&["", "top-1 %", "top-5 %", "maps off by, cells", "seeds"], cells);
        if found.iter().any(|found| !found.top1.is_empty()) {
            draw(&docs.join(&plot), part, &found)?;
            text += &format!("\n![{}]({plot})\n", part.title);
        }
    }
    let page = docs.join("ablations.md");
    std::fs::write(&page, text).with_context(|| format!("writing {}", page.display()))?;
    println!("written to {}", page.display());
    Ok(())
}

fn found<'a>(ablations: &Ablations, table: &'a Table, outcomes: &[Outcome]) -> Result<Vec<Found<'a>>> {
    let of = |row: &'a Row| {
        let mut found = Found { row, top1: Vec::new(), top5: Vec::new(), epe: Vec::new() };
        for &seed in &ablations.seeds {
            let recipe = recipe(&ablations.recipe, row, seed)?;
            if let Some(outcome) = outcomes.iter().find(|outcome| outcome.recipe == recipe) {
                found.top1.push(100.0 * outcome.top1);
                found.top5.push(100.0 * outcome.top5);
                found.epe.extend(outcome.epe_cells);
            }
        }
        Ok(found)
    };
    table.row.iter().map(of).collect()
}

impl Found<'_> {
    fn cells(&self) -> [String; 5] {
        let figure = |values: &[f64], digits: usize| match spread(values) {
            None => "–".to_owned(),
            Some((mean, None)) => format!("{mean:.digits$}"),
            Some((mean, Some(deviation))) => format!("{mean:.digits$} ± {deviation:.digits$}"),
        };
        [
            self.row.name.clone(),
            figure(&self.top1, 1),
            figure(&self.top5, 1),
            figure(&self.epe, 2),
            self.top1.len().to_string(),
        ]
    }
}

/// Mean and, of several values, standard deviation (of the sample).
fn spread(values: &[f64]) -> Option<(f64, Option<f64>)> {
    let n = values.len() as f64;
    let mean = (!values.is_empty()).then(|| values.iter().sum::<f64>() / n)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((mean, (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt())))
}

/// A bar for each row, its deviation as a line, each seed as a dot.
fn draw(path: &Path, part: &Table, found: &[Found]) -> Result<()> {
    let highest = found.iter().flat_map(|found| &found.top1).fold(10.0f64, |most, &top1| most.max(top1));
    let size = (640, 70 + 34 * found.len() as u32);
    let draw = || -> std::result::Result<(), Box<dyn std::error::Error>> {
        let root = SVGBackend::new(path, size).into_drawing_area();
        root.fill(&WHITE)?;
        let rows = (0..found.len()).into_segmented();
        let mut chart = ChartBuilder::on(&root)
            .caption(&part.title, ("sans-serif", 16))
            .margin(8)
            .x_label_area_size(34)
            .y_label_area_size(220)
            .build_cartesian_2d(0.0..(highest * 1.08).min(100.0), rows)?;
        let name = |row: &SegmentValue<usize>| match row {
            // The first row at the top.
            SegmentValue::CenterOf(row) => {
                found.iter().rev().nth(*row).map_or(String::new(), |found| found.row.name.clone())
            }
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(found.len())
            .y_label_formatter(&name)
            .x_desc("top-1 accuracy on test clips (%)")
            .label_style(("sans-serif", 14))
            .draw()?;
        for (row, found) in found.iter().rev().enumerate() {
            let Some((mean, deviation)) = spread(&found.top1) else { continue };
            let ends = [(0.0, SegmentValue::Exact(row)), (mean, SegmentValue::Exact(row + 1))];
            let mut bar = Rectangle::new(ends, BLUE.mix(0.75).filled());
            bar.set_margin(6, 6, 0, 0);
            chart.draw_series([bar])?;
            let deviation = deviation.unwrap_or_default();
            let line = [mean - deviation, mean + deviation].map(|x| (x, SegmentValue::CenterOf(row)));
            chart.draw_series([PathElement::new(line.to_vec(), BLACK.stroke_width(2))])?;
            let dots = found.top1.iter().map(|&top1| (top1, SegmentValue::CenterOf(row)));
            chart.draw_series(dots.map(|dot| Circle::new(dot, 3, ORANGE.filled())))?;
        }
        root.present()?;
        Ok(())
    };
    draw().map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_of_a_sample() {
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0]), Some((3.0, None)));
        assert_eq!(spread(&[1.0, 2.0, 3.0]), Some((2.0, Some(1.0))));
    }
}
