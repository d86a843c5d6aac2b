//! Curves as SVG.

use anyhow::{Context as _, Result};
use plotters::prelude::*;

use crate::figures::{Chart, Row};

/// Draws a chart of the rows of its curve.
///
/// # Errors
/// If there is no such curve, or the file cannot be written.
#[expect(clippy::cast_precision_loss, reason = "a picture's points; nothing is decided by them")]
pub fn draw(chart: &Chart, rows: &[Row], path: &std::path::Path) -> Result<()> {
    const COLORS: [RGBColor; 6] = [BLUE, RED, GREEN, MAGENTA, BLACK, CYAN];
    let value = |row: &Row, name: &str| row.get(name).map(|&value| value as f64 / chart.unit as f64);
    let x = |row: &Row| {
        row.get(&chart.x).map_or(0.0, |&x| if chart.log_x { (x as f64).log10() } else { x as f64 })
    };
    let right = rows.iter().map(x).fold(0.0, f64::max);
    let left = rows.iter().map(x).fold(right, f64::min);
    let points = rows.iter().flat_map(|row| chart.lines.iter().filter_map(move |line| value(row, line)));
    let top = points.fold(0.0, f64::max) * 1.1 + f64::MIN_POSITIVE;
    let root = SVGBackend::new(path, (800, 500)).into_drawing_area();
    let text = |error: DrawingAreaErrorKind<std::io::Error>| anyhow::anyhow!("{error}");
    root.fill(&WHITE).map_err(text)?;
    let mut area = ChartBuilder::on(&root)
        .caption(&chart.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(60)
        .build_cartesian_2d(left..right, 0.0..top)
        .map_err(text)?;
    let label = |x: &f64| if chart.log_x { format!("{:.0}", 10f64.powf(*x)) } else { format!("{x:.0}") };
    let x_name = if chart.log_x { format!("{} (logarithmic)", chart.x) } else { chart.x.clone() };
    area.configure_mesh().x_desc(x_name).x_label_formatter(&label).draw().map_err(text)?;
    for (name, color) in chart.lines.iter().zip(COLORS.iter().cycle().copied()) {
        // Lines with the same name and another group are curves of their own.
        let groups: std::collections::BTreeSet<Option<u64>> =
            rows.iter().map(|row| chart.group.as_ref().and_then(|group| row.get(group).copied())).collect();
        for (index, group) in groups.into_iter().enumerate() {
            let of_group = |row: &&Row| chart.group.as_ref().and_then(|name| row.get(name).copied()) == group;
            let line: Vec<(f64, f64)> =
                rows.iter().filter(of_group).filter_map(|row| Some((x(row), value(row, name)?))).collect();
            let color = if chart.group.is_some() { COLORS[index % COLORS.len()] } else { color };
            let label = match (&chart.group, group) {
                (Some(group_name), Some(group)) => format!("{name}, {group_name} {group}"),
                _ => name.clone(),
            };
            area.draw_series(LineSeries::new(line.iter().copied(), color.stroke_width(2)).point_size(3))
                .map_err(text)?
                .label(label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
        }
    }
    area.configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()
        .map_err(text)?;
    root.present().map_err(text).with_context(|| format!("writing {}", path.display()))
}
