//! A model that is ready to judge.
//!
//! In: weights and a kernel, once; then sequences of any lengths, in any order. Out: answers, in the order of the
//! sequences. Never: an answer that depends on the company.

use crate::{
    kernel::{Kernel, Ready},
    weights::{Weights, WeightsError},
};

/// Sequences that are computed side by side: enough to fill blocks, few enough that their states stay in the nearest caches.
const GROUP: usize = 24;

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
    /// A class that stands for many things, and what each target of it costs more, nats: ln of how many they are.
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

/// A model.
#[derive(Debug)]
pub struct Model {
    ready: Ready,
    classes: usize,
    kernel: Kernel,
}

impl Model {
    /// Lays the weights out for a kernel. A kernel that this processor lacks is replaced by [`Kernel::portable`].
    pub fn new(weights: &Weights<'_>, kernel: Kernel) -> Result<Self, WeightsError> {
        weights.check()?;
        let kernel = if kernel.is_available() { kernel } else { kernel.portable() };
        Ok(Self { ready: Ready::new(weights, kernel), classes: weights.classes, kernel })
    }

    /// Which kernel computes.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Bytes of memory that its weights take.
    pub fn bytes(&self) -> usize {
        self.ready.bytes()
    }

    /// Judges sequences; one answer for each, in order. A class that the model does not have is taken for class 0.
    pub fn judge(&self, sequences: &[Sequence<'_>], ask: &Ask) -> Vec<Answer> {
        let known = |classes: &[u16]| classes.iter().all(|c| usize::from(*c) < self.classes);
        // Classes come from this model's vocabulary; what breaks that must not read beside a table.
        let tamed: Vec<Option<(Vec<u16>, Vec<u16>)>> = sequences
            .iter()
            .map(|s| {
                let tame = |v: &[u16]| v.iter().map(|c| if usize::from(*c) < self.classes { *c } else { 0 }).collect();
                (!known(s.inputs) || !known(s.targets)).then(|| (tame(s.inputs), tame(s.targets)))
            })
            .collect();
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_by_key(|i| std::cmp::Reverse(sequences[*i].len()));
        let mut answers = vec![Answer::default(); sequences.len()];
        let mut said = Vec::with_capacity(GROUP);
        for part in order.chunks(GROUP) {
            let group: Vec<Sequence<'_>> = part
                .iter()
                .map(|i| match &tamed[*i] {
                    Some((inputs, targets)) => Sequence { inputs, targets, ..sequences[*i] },
                    None => sequences[*i],
                })
                .collect();
            said.clear();
            self.ready.run(&group, ask, &mut said);
            for (i, answer) in part.iter().zip(said.drain(..)) {
                answers[*i] = answer;
            }
        }
        answers
    }
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
