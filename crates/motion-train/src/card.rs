//! The model card: what was trained, on what, how, how right it is and where it is not.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use crate::error::Result;
use crate::files::write_atomically;
use crate::metrics::Evaluation;
use crate::recipe::Recipe;

/// Writes `README.md`, with the recipe in it, into the model folder.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write(
    model: &Path,
    recipe: &Recipe,
    test: &Evaluation,
    best: f64,
    took: Duration,
) -> Result<()> {
    write_atomically(&model.join("README.md"), card(recipe, test, best, took).as_bytes())
}

fn card(recipe: &Recipe, test: &Evaluation, best: f64, took: Duration) -> String {
    let mut card = String::from("# Model card\n\n## Figures\n\n| | |\n|---|---|\n");
    let mut row = |name: &str, value: String| writeln!(card, "| {name} | {value} |").unwrap_or_default();
    row("test clips", test.clips.to_string());
    if let Some(count) = test.skipped.filter(|count| *count > 0) {
        row("test videos that could not be read", count.to_string());
    }
    if recipe.maps_only() {
        row("end-point error, validation clips (chose the epoch)", format!("{:.2} cells", -best));
    } else {
        row("top-1, test clips", format!("{:.1} %", 100.0 * test.top1));
        row("top-5, test clips", format!("{:.1} %", 100.0 * test.top5));
        row("top-1, validation clips (chose the epoch)", format!("{:.1} %", 100.0 * best));
    }
    if let (Some(found), Some(zero)) = (test.epe_cells, test.zero_epe_cells) {
        row("end-point error, test clips", format!("{found:.2} cells (a map of zeros: {zero:.2})"));
    }
    row("time of this run", format!("{:.0} min", took.as_secs_f64() / 60.0));
    card += "\n## How it was made\n\n";
    if recipe.trunk.is_some() {
        card += "The backbone starts from an ImageNet-trained MobileNetV2 (Gluon's, from the ONNX model zoo, Apache-2.0).\n";
    }
    if let Some(stage) = &recipe.freeze_until {
        let _ = writeln!(card, "Everything up to `{stage}` keeps those values; the rest is trained.");
    }
    if let Some(first) = &recipe.first {
        let _ = writeln!(card, "It starts from the model of another run, `{}`.", first.display());
    }
    if recipe.freeze_maps {
        card += "What its motion modules compare stays as it was there.\n";
    }
    card += match (recipe.guide, recipe.maps_only()) {
        (None, _) => "It is trained by the class alone, as in the paper (*faithful*).",
        (Some(_), true) => {
            "Only its displacement maps are trained, by the true flow of the rendered clips (*guided*; not in the paper)."
        }
        (Some(_), false) => {
            "Beside the class, the true flow of the rendered clips teaches its displacement maps (*guided*; not in the paper)."
        }
    };
    card += " The whole recipe, for `motionlens train --config`:\n\n```toml\n";
    card += recipe.text.trim_end();
    card += "\n```\n\n## Confusion matrix\n\nTest clips; a row is the truth, a column the answer, numbered as the rows.\n\n| |";
    for class in 0..test.confusion.len() {
        let _ = write!(card, " {class} |");
    }
    card += "\n|---|";
    card += &"---:|".repeat(test.confusion.len());
    card.push('\n');
    for (class, (label, row)) in test.labels.iter().zip(&test.confusion).enumerate() {
        let _ = write!(card, "| {class} {label} |");
        for &count in row {
            let _ = if count == 0 { write!(card, " |") } else { write!(card, " {count} |") };
        }
        card.push('\n');
    }
    card
}
