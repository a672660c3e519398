//! Figures as pictures (SVG). *Pure.*
//!
//! In: ROCs of methods, scores over time. Out: SVG text; the same input gives the same bytes. Never: a font of the system,
//! a figure of its own.

use crate::evaluate::data::{Attack, DataSet, Kind, Set};
use crate::evaluate::metrics::{self, Point};
use crate::evaluate::protocol::{NORMAL_ONLY, Said, judged};
use crate::evaluate::report::{Outcome, Report};
use crate::evaluate::unit::{self, Unit};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;
use std::collections::BTreeMap;

/// Left end of a logarithmic axis of false positive rates.
const LEAST_FPR: f64 = 1e-4;
/// Width and height of a ROC.
const ROC: (u32, u32) = (760, 560);
/// Width of scores over time, height of one recording's, recordings at most.
const TIME: (u32, u32, usize) = (960, 220, 24);
/// Points drawn of a line, about.
const POINTS: f64 = 1500.0;
/// Shows where an attack went on.
const ATTACK: RGBColor = RGBColor(214, 39, 40);
/// One colour for each method, dark enough for a thin line on white.
const COLOURS: [(u8, u8, u8); 12] = [
    (31, 73, 160),
    (214, 39, 40),
    (35, 139, 69),
    (230, 120, 10),
    (117, 50, 160),
    (0, 150, 170),
    (140, 86, 75),
    (220, 60, 160),
    (90, 90, 90),
    (150, 150, 0),
    (20, 20, 20),
    (120, 170, 220),
];

fn colour(n: usize) -> RGBColor {
    let (r, g, b) = COLOURS[n % COLOURS.len()];
    RGBColor(r, g, b)
}

/// A picture could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("drawing {what}: {reason}")]
pub struct PlotError {
    what: &'static str,
    reason: String,
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> PlotError {
    move |e| PlotError { what, reason: e.to_string() }
}

/// All pictures of a report, each with the name of its file: a ROC for each protocol, with a linear and with a logarithmic
/// axis; for recordings the scores over time of each method, one panel for each recording of attacks.
pub fn all(data: &DataSet, report: &Report, said: &[Said]) -> Result<Vec<(String, String)>, PlotError> {
    let mut pictures = Vec::new();
    for (protocol, methods) in &report.protocols {
        let said: Vec<_> = said.iter().filter(|s| s.protocol == *protocol).collect();
        let units: Vec<_> = said.iter().map(|s| (s.method.as_str(), units(data, s))).collect();
        let curves: Vec<_> = units.iter().map(|(method, units)| (*method, roc(units))).collect();
        // The usual protocol has the plain name.
        let ending = if *protocol == NORMAL_ONLY { String::new() } else { format!("-{protocol}") };
        pictures.push((format!("roc{ending}.svg"), draw_roc(protocol, &curves, false)?));
        pictures.push((format!("roc{ending}-log.svg"), draw_roc(protocol, &curves, true)?));
        if data.kind == Kind::Recordings {
            for (method, units) in &units {
                let threshold = match methods.get(*method) {
                    Some(Outcome::Figures(f)) => f.threshold,
                    _ => None,
                };
                pictures.push((format!("score-over-time-{method}.svg"), over_time(data, method, units, threshold)?));
            }
        }
    }
    Ok(pictures)
}

fn units(data: &DataSet, said: &Said) -> Vec<Unit> {
    let items = judged(said.protocol, data);
    let join = if data.kind == Kind::Recordings { unit::slots } else { unit::each };
    join(&items, &said.scores.judged, &data.attacks)
}

fn roc(units: &[Unit]) -> Vec<Point> {
    let scores = |attack: bool| units.iter().filter(|u| u.family.is_some() == attack).map(|u| u.score).collect::<Vec<_>>();
    metrics::roc(&scores(false), &scores(true))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Several ROCs in one picture, drawn as steps: between two points nothing is attained but the lower one. With `log` the
/// axis of false positive rates is logarithmic, from `LEAST_FPR` on.
pub fn draw_roc(title: &str, curves: &[(&str, Vec<Point>)], log: bool) -> Result<String, PlotError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, ROC).into_drawing_area();
        area.fill(&WHITE).map_err(failed("a ROC"))?;
        if log {
            curves_on(&area, title, curves, (LEAST_FPR..1.0).log_scale(), |fpr| fpr.max(LEAST_FPR).log10())?;
        } else {
            curves_on(&area, title, curves, 0.0..1.0, |fpr| fpr)?;
        }
        area.present().map_err(failed("a ROC"))?;
    }
    Ok(svg)
}

fn curves_on<X>(
    area: &Area<'_>,
    title: &str,
    curves: &[(&str, Vec<Point>)],
    x: X,
    place: impl Fn(f64) -> f64,
) -> Result<(), PlotError>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let failed = failed("a ROC");
    let mut chart = ChartBuilder::on(area)
        .caption(format!("ROC, {title}"), ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(52)
        .build_cartesian_2d(x, 0.0..1.0)
        .map_err(&failed)?;
    chart
        .configure_mesh()
        .x_desc("false positive rate")
        .y_desc("true positive rate")
        .x_label_formatter(&|fpr| format!("{}", (fpr * 1e6).round() / 1e6))
        .light_line_style(WHITE)
        .draw()
        .map_err(&failed)?;
    for (n, (method, points)) in curves.iter().enumerate() {
        let style = colour(n).stroke_width(2);
        let auc: f64 = points.windows(2).map(|p| (p[1].fpr - p[0].fpr) * f64::midpoint(p[0].tpr, p[1].tpr)).sum();
        chart
            .draw_series(LineSeries::new(steps(points, &place), style))
            .map_err(&failed)?
            .label(format!("{method}, AUC {auc:.3}"))
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(190, 190, 190))
        .draw()
        .map_err(&failed)
}

/// A ROC as steps, less the points that lie where the one before is drawn.
fn steps(points: &[Point], place: &impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let width = place(1.0) - place(0.0);
    let mut steps: Vec<(f64, f64)> = Vec::new();
    let mut last: Option<&Point> = None;
    for (n, p) in points.iter().enumerate() {
        let near = |l: &Point| (place(p.fpr) - place(l.fpr)) / width < 1.0 / POINTS && p.tpr - l.tpr < 1.0 / POINTS;
        if n + 1 < points.len() && last.is_some_and(near) {
            continue;
        }
        if let Some(l) = last {
            steps.push((p.fpr.max(LEAST_FPR / 10.0), l.tpr));
        }
        steps.push((p.fpr.max(LEAST_FPR / 10.0), p.tpr));
        last = Some(p);
    }
    steps
}

/// Scores over time: for each recording of attacks the highest score of each second, the attacks shaded, the threshold a line.
pub fn over_time(data: &DataSet, method: &str, units: &[Unit], threshold: Option<f64>) -> Result<String, PlotError> {
    let failed = failed("scores over time");
    let mut recordings: BTreeMap<u32, BTreeMap<u64, f64>> = BTreeMap::new();
    let of_attacks = |r: u32| data.files.get(r as usize).is_some_and(|f| f.set == Set::Attack);
    for unit in units {
        if let Some((recording, _, second)) = unit.slot.filter(|(r, ..)| of_attacks(*r)) {
            let score = recordings.entry(recording).or_default().entry(second).or_insert(f64::NEG_INFINITY);
            *score = score.max(unit.score);
        }
    }
    let shown = recordings.len().min(TIME.2);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (TIME.0, TIME.1 * shown.max(1) as u32)).into_drawing_area();
        area.fill(&WHITE).map_err(&failed)?;
        for (panel, (recording, seconds)) in area.split_evenly((shown.max(1), 1)).iter().zip(&recordings) {
            let name = data.files.get(*recording as usize).map_or("", |f| &f.path);
            let first = seconds.keys().next().copied().unwrap_or(0);
            let shade = |a: &Attack| {
                let at = |ns: u64| ns as f64 / 1e9 - first as f64;
                (a.recording == *recording).then(|| (at(a.span.0), at(a.span.1)))
            };
            let attacks: Vec<_> = data.attacks.iter().filter_map(shade).collect();
            let line: Vec<_> = seconds.iter().map(|(s, score)| ((s - first) as f64, *score)).collect();
            panel_of(panel, &format!("{method}: {name}"), &line, &attacks, threshold)?;
        }
        area.present().map_err(&failed)?;
    }
    Ok(svg)
}

fn panel_of(
    area: &Area<'_>,
    title: &str,
    line: &[(f64, f64)],
    attacks: &[(f64, f64)],
    threshold: Option<f64>,
) -> Result<(), PlotError> {
    let failed = failed("scores over time");
    let finite = line.iter().map(|(_, s)| *s).chain(threshold).filter(|s| s.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), s| (low.min(s), high.max(s)));
    let (low, high) = if low < high { (low, high) } else { (low.min(0.0), low.max(0.0) + 1.0) };
    let (low, high) = if low.is_finite() { (low.min(0.0), high + 0.08 * (high - low)) } else { (0.0, 1.0) };
    let end = line.last().map_or(1.0, |(x, _)| x + 1.0);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 14))
        .margin(8)
        .x_label_area_size(34)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..end, low..high)
        .map_err(&failed)?;
    // Behind everything else.
    let shades = attacks
        .iter()
        .map(|(from, to)| Rectangle::new([(from.clamp(0.0, end), low), (to.clamp(0.0, end), high)], ATTACK.mix(0.18).filled()));
    chart.draw_series(shades).map_err(&failed)?;
    chart
        .configure_mesh()
        .x_desc("seconds")
        .y_desc("score")
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.1))
        .draw()
        .map_err(&failed)?;
    let inside = |s: f64| s.clamp(low, high);
    let points: Vec<_> = line.iter().map(|(x, s)| (*x, inside(*s))).collect();
    chart.draw_series(LineSeries::new(points, colour(0).stroke_width(1))).map_err(&failed)?;
    if let Some(t) = threshold.filter(|t| t.is_finite()) {
        chart.draw_series(LineSeries::new([(0.0, t), (end, t)], ATTACK.stroke_width(1))).map_err(&failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
