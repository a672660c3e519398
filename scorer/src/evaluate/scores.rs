//! Scores as tab-separated values, so that figures can be checked with other tools. *Pure.*
//!
//! In: what methods said. Out: a line for each score. Never: a figure.
//!
//! Columns: protocol, method, grain, set (`normal-train` is what the threshold was chosen on), family (`-`: normal),
//! name (`FILE:LINE`, `FILE:WINDOW`, or `RECORDING:CONTAINER:SECOND` for a slot), score.

use crate::evaluate::data::{DataSet, Item, Kind};
use crate::evaluate::protocol::{NORMAL_ONLY, Said, judged};
use crate::evaluate::unit;
use std::io::{self, Write};

/// Name of the columns.
const HEADER: &str = "protocol\tmethod\tgrain\tset\tfamily\tname\tscore";

/// Writes all scores.
pub fn write(data: &DataSet, said: &[Said], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{HEADER}")?;
    let held = data.held_out();
    let held: Vec<&Item> = data.train.iter().zip(held).filter(|(_, h)| *h).map(|(i, _)| i).collect();
    for said in said {
        let judged = judged(said.protocol, data);
        if said.protocol == NORMAL_ONLY {
            part(data, &held, &said.scores.held_out, said, out)?;
        }
        part(data, &judged, &said.scores.judged, said, out)?;
    }
    out.flush()
}

fn part(data: &DataSet, items: &[&Item], scores: &[f64], said: &Said, out: &mut dyn Write) -> io::Result<()> {
    let (protocol, method) = (said.protocol, &said.method);
    let grain = if data.kind == Kind::Traces { "trace" } else { "window" };
    for (item, score) in items.iter().zip(scores) {
        let family = clean(item.family.as_deref().unwrap_or("-"));
        let (set, file, number) = (item.set.name(), clean(&item.file), item.number);
        writeln!(out, "{protocol}\t{method}\t{grain}\t{set}\t{family}\t{file}:{number}\t{score}")?;
    }
    if data.kind == Kind::Recordings {
        let set =
            |recording: u32| items.iter().find(|i| i.place.is_some_and(|p| p.recording == recording)).map(|i| (i.set, &i.file));
        let mut last = None;
        for unit in unit::slots(items, scores, &data.attacks) {
            let Some((recording, container, second)) = unit.slot else { continue };
            if last.is_none_or(|(r, _)| r != recording) {
                last = set(recording).map(|found| (recording, found));
            }
            let Some((_, (set, file))) = last else { continue };
            let family = clean(unit.family.as_deref().unwrap_or("-"));
            let (set, file) = (set.name(), clean(file));
            writeln!(out, "{protocol}\t{method}\tslot\t{set}\t{family}\t{file}:{container}:{second}\t{}", unit.score)?;
        }
    }
    Ok(())
}

/// A name from a file system may hold anything.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
