//! A run's figures in, pictures (SVG) out: how it went, and which classes are taken for which.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::Result;
use crate::files::write_atomically;
use crate::log::Epoch;
use crate::metrics::Evaluation;
use crate::recipe::Recipe;

/// Okabe and Ito's colours, which most colour-blind people can tell apart.
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(213, 94, 0);
const GREY: RGBColor = RGBColor(225, 225, 225);
/// Sizes are plotters': a quarter larger than the picture's pixels.
const FONT: &str = "sans-serif";

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// Drawing into a string cannot fail; plotters has a type for the error all the same.
type Drawn = std::result::Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// One line of a panel.
struct Curve {
    name: &'static str,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Writes how a run went, over its epochs of `steps` steps: loss, accuracy, the maps' error, step size.
pub(crate) fn curves(path: &Path, epochs: &[Epoch], recipe: &Recipe, steps: usize) -> Result<()> {
    let curve = |name, colour, value: fn(&Epoch) -> Option<f64>| Curve {
        name,
        colour,
        points: epochs.iter().filter_map(|line| Some((line.epoch as f64, value(line)?))).collect(),
    };
    let rate = (0..steps * epochs.len()).map(|step| {
        let share = recipe.schedule.share(step, steps, recipe.epochs, recipe.warm_up);
        ((step as f64 + 0.5) / steps as f64, recipe.learning_rate * share)
    });
    let mut panels = vec![
        ("training loss (nats)", vec![curve("", BLUE, |line| Some(line.loss))]),
        (
            "top-1 accuracy (%)",
            vec![
                curve("training", BLUE, |line| line.train_top1.map(|share| 100.0 * share)),
                curve("validation", ORANGE, |line| line.validate_top1.map(|share| 100.0 * share)),
            ],
        ),
        ("validation error (cells)", vec![curve("", ORANGE, Epoch::maps_error)]),
        ("learning rate", vec![Curve { name: "", colour: BLUE, points: rate.collect() }]),
    ];
    panels.iter_mut().for_each(|(_, curves)| curves.retain(|curve| !curve.points.is_empty()));
    panels.retain(|(_, curves)| !curves.is_empty());
    draw(path, (640, 230 * panels.len() as u32), |root| {
        for (area, (name, curves)) in root.split_evenly((panels.len(), 1)).iter().zip(&panels) {
            panel(area, name, curves, epochs.len() as f64)?;
        }
        Ok(())
    })
}

fn panel(area: &Area<'_>, name: &str, curves: &[Curve], epochs: f64) -> Drawn {
    let values = || curves.iter().flat_map(|curve| curve.points.iter().map(|(_, y)| *y));
    let (low, high) = (values().fold(0.0, f64::min), values().fold(f64::MIN, f64::max));
    let high = if high > low { high + 0.05 * (high - low) } else { low + 1.0 };
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(38)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..epochs, low..high)?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .y_desc(name)
        .bold_line_style(GREY)
        .light_line_style(TRANSPARENT)
        .y_labels(5)
        .x_labels(epochs.min(10.0) as usize + 1)
        .x_label_formatter(&|x| if x.fract() == 0.0 { format!("{x}") } else { String::new() })
        // Without the last bits of a sum of steps.
        .y_label_formatter(&|y| format!("{}", (y * 1e9).round() / 1e9))
        .label_style((FONT, 15))
        .draw()?;
    for Curve { name, colour, points } in curves {
        let colour = *colour;
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        // A point an epoch; a curve of more is one of steps.
        if points.len() as f64 <= epochs {
            chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
        }
    }
    if let [_, _, ..] = curves {
        let mut names = chart.configure_series_labels();
        names.position(SeriesLabelPosition::LowerRight).background_style(WHITE.mix(0.85));
        names.label_font((FONT, 15)).draw()?;
    }
    Ok(())
}

/// Writes which classes were taken for which: a row is the truth, a column the answer.
pub(crate) fn confusion(path: &Path, evaluation: &Evaluation) -> Result<()> {
    let Evaluation { labels, confusion, .. } = evaluation;
    let classes = labels.len() as i32;
    // Numbers fit into the larger cells.
    let (cell, font) = if classes <= 40 { (28, 15) } else { (12, 11) };
    let longest = labels.iter().map(|label| label.chars().count()).max().unwrap_or_default() as i32;
    // A letter is about half as wide as high.
    let names = longest * font * 12 / 25 + 12;
    let (left, top) = (names + 24, 12);
    let side = classes * cell;
    draw(path, ((left + side + 16) as u32, (top + side + names + 24) as u32), |root| {
        let style = |horizontal, vertical, size: i32| {
            let font = TextStyle::from((FONT, size).into_font());
            font.pos(Pos::new(horizontal, vertical))
        };
        let upright = |style: TextStyle<'static>| style.transform(FontTransform::Rotate270);
        let row_name = style(HPos::Right, VPos::Center, font);
        let column_name = upright(style(HPos::Right, VPos::Center, font));
        let number = style(HPos::Center, VPos::Center, 14);
        for (row, (label, counts)) in labels.iter().zip(confusion).enumerate() {
            let clips = counts.iter().sum::<usize>().max(1) as f64;
            let y = top + row as i32 * cell;
            root.draw_text(label, &row_name, (left - 6, y + cell / 2))?;
            for (column, &count) in counts.iter().enumerate() {
                let x = left + column as i32 * cell;
                let share = count as f64 / clips;
                let corners = [(x, y), (x + cell, y + cell)];
                root.draw(&Rectangle::new(corners, shade(share).filled()))?;
                root.draw(&Rectangle::new(corners, GREY.stroke_width(1)))?;
                if count > 0 && classes <= 40 {
                    let ink = if share > 0.5 { WHITE } else { BLACK };
                    root.draw_text(&count.to_string(), &number.color(&ink), (x + cell / 2, y + cell / 2))?;
                }
            }
        }
        for (column, label) in labels.iter().enumerate() {
            let x = left + column as i32 * cell + cell / 2;
            root.draw_text(label, &column_name, (x, top + side + 6))?;
        }
        let title = style(HPos::Center, VPos::Center, 16);
        root.draw_text("true class", &upright(title.clone()), (10, top + side / 2))?;
        root.draw_text("answer (number of clips)", &title, (left + side / 2, top + side + names + 12))
    })
}

/// White for none of a row's clips, blue for all.
fn shade(share: f64) -> RGBColor {
    let mix = |colour: u8| (255.0 + (f64::from(colour) - 255.0) * share) as u8;
    RGBColor(mix(BLUE.0), mix(BLUE.1), mix(BLUE.2))
}

/// A picture on white.
fn draw(path: &Path, size: (u32, u32), content: impl FnOnce(&Area<'_>) -> Drawn) -> Result<()> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).and_then(|()| content(&root)).and_then(|()| root.present()).map_err(|error| {
            let message = format!("cannot be drawn: {error}");
            crate::Error::Data { path: path.to_owned(), message }
        })?;
    }
    write_atomically(path, svg.as_bytes())
}
