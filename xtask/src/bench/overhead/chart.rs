//! The bar chart of `bench overhead`. *Pure.*
//!
//! In: each workload's ratios to the empty program. Out: SVG text. Never: a figure of its own.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

/// Width, and height of one bar with its share of space, pixels.
const WIDTH: u32 = 860;
const BAR: u32 = 20;
const LABELS: i32 = 250;
const HEAD: i32 = 54;

/// A bar: what it is, its length (1 is the empty program's throughput), which colour.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) ratio: f64,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, and the empty program.
    Reference,
    Agent,
    Peer,
}

impl Kind {
    fn colour(self) -> RGBColor {
        match self {
            Self::Reference => RGBColor(150, 150, 150),
            Self::Agent => RGBColor(31, 73, 160),
            Self::Peer => RGBColor(200, 90, 30),
        }
    }
}

/// Groups of bars, one below the other.
pub(super) fn draw(groups: &[(String, Vec<Bar>)]) -> Result<String> {
    let rows: usize = groups.iter().map(|(_, bars)| bars.len() + 2).sum();
    let size = (WIDTH, HEAD as u32 + rows as u32 * BAR);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let failed = |e: &dyn std::fmt::Display| anyhow!("drawing the chart: {e}");
        let longest = groups.iter().flat_map(|(_, bars)| bars).map(|b| b.ratio).fold(1.0, f64::max);
        let scale = f64::from(WIDTH as i32 - LABELS - 90) / longest;
        let x = |ratio: f64| LABELS + (ratio * scale) as i32;
        let text = |size: i32| ("sans-serif", size).into_font().color(&BLACK);
        area.fill(&WHITE).map_err(|e| failed(&e))?;
        let title = "Throughput to that with an empty program on the hook";
        area.draw_text(title, &text(18), (12, 16)).map_err(|e| failed(&e))?;
        let mut y = HEAD;
        for (group, bars) in groups {
            area.draw_text(group, &text(15), (12, y)).map_err(|e| failed(&e))?;
            y += BAR as i32;
            for bar in bars {
                area.draw_text(&bar.name, &text(13), (28, y + 3)).map_err(|e| failed(&e))?;
                let corners = [(LABELS, y + 2), (x(bar.ratio).max(LABELS + 1), y + BAR as i32 - 3)];
                area.draw(&Rectangle::new(corners, bar.kind.colour().filled())).map_err(|e| failed(&e))?;
                let figure = format!("{:.3}", bar.ratio);
                area.draw_text(&figure, &text(12), (x(bar.ratio) + 6, y + 4)).map_err(|e| failed(&e))?;
                y += BAR as i32;
            }
            y += BAR as i32;
        }
        let line = PathElement::new([(x(1.0), HEAD), (x(1.0), y - BAR as i32)], BLACK.mix(0.5));
        area.draw(&line).map_err(|e| failed(&e))?;
        area.present().map_err(|e| failed(&e))?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::{Bar, Kind, draw};

    #[test]
    fn every_bar_is_there_with_its_figure() {
        let bar = |name: &str, ratio, kind| Bar { name: name.to_owned(), ratio, kind };
        let bars =
            vec![bar("attach only", 1.0, Kind::Reference), bar("tracking", 0.987, Kind::Agent), bar("strace", 0.02, Kind::Peer)];
        let svg = draw(&[("redis".to_owned(), bars)]).expect("it draws");
        for text in ["redis", "tracking", "0.987", "0.020", "1.000"] {
            assert!(svg.contains(text), "{text} is not in\n{svg}");
        }
        // White ground and three bars.
        assert_eq!(svg.matches("<rect").count(), 4, "{svg}");
    }
}
