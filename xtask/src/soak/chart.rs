//! What agent and scorer hold over time, as a picture. *Pure.*
//!
//! In: samples. Out: SVG text with three panels: memory, descriptors, entries in maps. Never: a figure of its own.

use super::sample::Sample;
use anyhow::{Result, anyhow};
use plotters::{coord::Shift, prelude::*};

/// Width, and height of a panel, pixels.
const PANEL: (u32, u32) = (860, 230);

/// A line: its name and the figure that it shows.
type Line = (&'static str, fn(&Sample) -> f64);

const PANELS: [(&str, &[Line]); 3] = [
    ("resident memory, MB", &[("agent", |s| s.agent.rss_mb), ("scorer", |s| s.scorer.rss_mb)]),
    ("open descriptors", &[("agent", |s| s.agent.descriptors as f64), ("scorer", |s| s.scorer.descriptors as f64)]),
    (
        "entries",
        &[
            ("map entries of the agent", |s| s.map_entries() as f64),
            ("containers alive", |s| s.alive as f64),
            ("threads of the agent", |s| s.agent.threads),
        ],
    ),
];

const COLOURS: [RGBColor; 3] = [RGBColor(31, 73, 160), RGBColor(200, 90, 30), RGBColor(35, 139, 69)];

pub(super) fn draw(samples: &[Sample]) -> Result<String> {
    let mut svg = String::new();
    {
        let size = (PANEL.0, PANEL.1 * PANELS.len() as u32);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE).map_err(|e| failed(&e))?;
        for (panel, (title, lines)) in area.split_evenly((PANELS.len(), 1)).iter().zip(PANELS) {
            draw_panel(panel, title, lines, samples)?;
        }
        area.present().map_err(|e| failed(&e))?;
    }
    Ok(svg)
}

fn draw_panel(panel: &DrawingArea<SVGBackend<'_>, Shift>, title: &str, lines: &[Line], samples: &[Sample]) -> Result<()> {
    let end = samples.last().map_or(1.0, |s| s.at / 60.0).max(0.1);
    let top = samples.iter().flat_map(|s| lines.iter().map(|(_, of)| of(s))).fold(1.0, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 15))
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..end, 0.0..top)
        .map_err(|e| failed(&e))?;
    chart.configure_mesh().x_desc("minutes").light_line_style(WHITE).draw().map_err(|e| failed(&e))?;
    for ((name, of), colour) in lines.iter().zip(COLOURS) {
        let points = samples.iter().map(|s| (s.at / 60.0, of(s)));
        let line = chart.draw_series(LineSeries::new(points, colour)).map_err(|e| failed(&e))?;
        line.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
    }
    let mut legend = chart.configure_series_labels();
    legend.border_style(BLACK.mix(0.3)).background_style(WHITE.mix(0.8)).draw().map_err(|e| failed(&e))
}

fn failed(error: &dyn std::fmt::Display) -> anyhow::Error {
    anyhow!("drawing the chart: {error}")
}

#[cfg(test)]
mod tests {
    use super::{PANELS, Sample, draw};

    #[test]
    fn every_panel_and_line_is_there() {
        let samples: Vec<_> = (0..100).map(|n| Sample { at: f64::from(n), alive: 5, ..Sample::default() }).collect();
        let svg = draw(&samples).expect("it draws");
        for (title, lines) in PANELS {
            assert!(svg.contains(title), "{title} is not in\n{svg}");
            for (name, _) in lines {
                assert!(svg.contains(name), "{name} is not in\n{svg}");
            }
        }
    }
}
