//! What training made, as plain numbers.
//!
//! In: slices of any length. Out: the same, known to fit together. Never: a copy.

/// Widest model: a damaged file must not make one of any size.
pub const WIDEST: usize = 4096;
/// Most classes: they are counted in 16 bits.
pub const CLASSES_MAX: usize = 1 << 16;

/// Weights of an embedding, one LSTM layer and a linear head, row by row, in PyTorch's layout: the gates are in the order
/// input, forget, cell, output.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// Classes, 1 to [`CLASSES_MAX`].
    pub classes: usize,
    /// Width of the embedding, 1 to [`WIDEST`].
    pub embedding_width: usize,
    /// Width of the hidden state, 1 to [`WIDEST`].
    pub hidden: usize,
    /// classes × `embedding_width`.
    pub embedding: &'a [f32],
    /// 4 hidden × `embedding_width`.
    pub weight_ih: &'a [f32],
    /// 4 hidden × hidden.
    pub weight_hh: &'a [f32],
    /// 4 hidden.
    pub bias_ih: &'a [f32],
    /// 4 hidden.
    pub bias_hh: &'a [f32],
    /// classes × hidden.
    pub head_weight: &'a [f32],
    /// classes.
    pub head_bias: &'a [f32],
}

/// Weights that make no model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// A size is out of its range.
    #[error("{what} is {found}, expected 1 to {most}")]
    Size {
        /// Which.
        what: &'static str,
        /// What it is.
        found: usize,
        /// What it may be.
        most: usize,
    },
    /// A matrix has another number of values.
    #[error("{name} has {found} values, expected {expected}")]
    Length {
        /// Which.
        name: &'static str,
        /// How many it has.
        found: usize,
        /// How many it must have.
        expected: usize,
    },
    /// A value is infinite or no number.
    #[error("{0} holds values that are no finite numbers")]
    NotFinite(&'static str),
}

impl Weights<'_> {
    /// Whether all of it fits together.
    pub fn check(&self) -> Result<(), WeightsError> {
        let Self { classes, embedding_width, hidden, .. } = *self;
        for (what, found, most) in [
            ("classes", classes, CLASSES_MAX),
            ("the embedding's width", embedding_width, WIDEST),
            ("the hidden width", hidden, WIDEST),
        ] {
            if !(1..=most).contains(&found) {
                return Err(WeightsError::Size { what, found, most });
            }
        }
        for (name, values, expected) in [
            ("embedding", self.embedding, classes * embedding_width),
            ("weight_ih", self.weight_ih, 4 * hidden * embedding_width),
            ("weight_hh", self.weight_hh, 4 * hidden * hidden),
            ("bias_ih", self.bias_ih, 4 * hidden),
            ("bias_hh", self.bias_hh, 4 * hidden),
            ("head_weight", self.head_weight, classes * hidden),
            ("head_bias", self.head_bias, classes),
        ] {
            if values.len() != expected {
                return Err(WeightsError::Length { name, found: values.len(), expected });
            }
            if values.iter().any(|v| !v.is_finite()) {
                return Err(WeightsError::NotFinite(name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_does_not_fit() {
        let zeros = [0.0; 64];
        let good = Weights {
            classes: 3,
            embedding_width: 1,
            hidden: 2,
            embedding: &zeros[..3],
            weight_ih: &zeros[..8],
            weight_hh: &zeros[..16],
            bias_ih: &zeros[..8],
            bias_hh: &zeros[..8],
            head_weight: &zeros[..6],
            head_bias: &zeros[..3],
        };
        let nan = [f32::NAN; 8];
        good.check().expect("fits");
        for (weights, expect) in [
            (Weights { classes: 0, ..good }, "classes is 0, expected 1 to 65536"),
            (Weights { hidden: 5000, ..good }, "the hidden width is 5000, expected 1 to 4096"),
            (Weights { weight_hh: &zeros[..15], ..good }, "weight_hh has 15 values, expected 16"),
            (Weights { bias_hh: &nan, ..good }, "bias_hh holds values that are no finite numbers"),
        ] {
            assert_eq!(weights.check().expect_err("does not fit").to_string(), expect);
        }
    }
}
