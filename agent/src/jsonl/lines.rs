//! Records as lines of a recording. Pure.
//!
//! In: [`Record`]s. Out: lines, each container named before its calls. Never: a line for network counters: the format does
//! not carry them.

use crate::record::Record;
use std::collections::BTreeMap;
use surprisal_proto::recording::{self, Line};

/// Containers that live; a file must name each before its calls.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<String, recording::Container>);

impl Known {
    /// The lines that name them all.
    pub(super) fn named(&self) -> impl Iterator<Item = Line> {
        self.0.values().map(|container| Line::Container(container.clone()))
    }

    /// The lines that a record becomes.
    pub(super) fn lines(&mut self, record: &Record) -> Vec<Line> {
        let container = record.container();
        let id = container.id.to_string();
        let mut lines = Vec::new();
        if !self.0.contains_key(&id) || matches!(record, Record::Birth(_)) {
            let named = container.to_recording();
            lines.push(Line::Container(named.clone()));
            self.0.insert(id.clone(), named);
        }
        match record {
            Record::Birth(_) | Record::Network { .. } => {}
            Record::Name { call, .. } => lines.push(Line::Name(call.to_recording(container))),
            Record::Calls { run, .. } => lines.push(Line::Calls(run.to_recording(container))),
            Record::Account { issued, delivered, lost_ring, threads_untracked, names_untold, names_unread, .. } => {
                lines.push(Line::Account(recording::Account {
                    container: id,
                    issued: *issued,
                    delivered: *delivered,
                    lost: *lost_ring,
                    threads_untracked: *threads_untracked,
                    names_untold: *names_untold,
                    names_unread: *names_unread,
                }));
            }
            Record::Death { at, .. } => {
                self.0.remove(&id);
                lines.push(Line::Death(recording::Death { container: id, at: *at }));
            }
        }
        lines
    }
}
