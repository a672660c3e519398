//! What is asked of a kernel, and what it answers.
//!
//! In: sequences of classes, surprisals, logits. Out: [`Answer`]s. Pure. Never: arithmetic on weights.

/// One sequence: `targets[i]` is what followed `inputs[..=i]`.
#[derive(Clone, Copy, Debug)]
pub struct Sequence<'a> {
    /// Classes shown.
    pub inputs: &'a [u16],
    /// Classes that followed, as many.
    pub targets: &'a [u16],
    /// Targets before this one are context: they are not scored.
    pub scored_from: usize,
}

impl Sequence<'_> {
    pub(crate) fn len(&self) -> usize {
        self.inputs.len().min(self.targets.len())
    }

    pub(crate) fn scored(&self) -> usize {
        self.len().saturating_sub(self.scored_from)
    }

    pub(crate) fn is_scored(&self, t: usize) -> bool {
        (self.scored_from..self.len()).contains(&t)
    }
}

/// What is asked beside the surprisals.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    /// A class that stands for many calls, and the nats added to each target of it: ln of how many they are.
    pub shared: (u16, f32),
    /// At this many of the most surprising targets of each sequence, say what was expected; 0: nowhere.
    pub places: usize,
    /// But only at targets of at least so many nats.
    pub from_nats: f32,
    /// And name this many classes there.
    pub likeliest: usize,
}

/// What is said of a sequence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// −ln probability of each scored target, nats, 0 or above.
    pub nll: Vec<f32>,
    /// The most surprising of them, most surprising first, the earlier first among equals.
    pub places: Vec<Place>,
}

/// What was expected at one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Which scored target, from 0.
    pub index: usize,
    /// Likeliest classes with their probabilities, likeliest first.
    pub expected: Vec<(u16, f32)>,
}

/// Where the largest surprisals are, largest first, the earlier first among equals.
pub(crate) fn most_surprising(nll: &[f32], ask: &Ask) -> Vec<Place> {
    if ask.places == 0 {
        return Vec::new();
    }
    let mut order: Vec<usize> = (0..nll.len()).filter(|i| nll[*i] >= ask.from_nats).collect();
    order.sort_unstable_by(|a, b| nll[*b].total_cmp(&nll[*a]).then(a.cmp(b)));
    order.truncate(ask.places);
    order.into_iter().map(|index| Place { index, expected: Vec::new() }).collect()
}

/// The likeliest classes with their probabilities, likeliest first, the lower class first among equals.
pub(crate) fn likeliest(logits: &[f32], normaliser: f32, most: usize) -> Vec<(u16, f32)> {
    let mut best: Vec<(u16, f32)> = Vec::with_capacity(most + 1);
    for (class, logit) in logits.iter().enumerate() {
        if best.len() < most || best.last().is_some_and(|(_, least)| logit > least) {
            let at = best.partition_point(|(_, other)| other >= logit);
            best.insert(at, (class as u16, *logit));
            best.truncate(most);
        }
    }
    best.into_iter().map(|(class, logit)| (class, (logit - normaliser).exp())).collect()
}
