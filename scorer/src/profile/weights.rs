//! The weights' file: safetensors with what it belongs to. *Pure.*
//!
//! In: bytes that anyone may have written. Out: tensors of exactly the shapes that a model of the given
//! sizes has, or one clear reason. Never: a tensor of libtorch; this works without it.

use crate::detect::model::Sizes;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::{BTreeMap, HashMap};

/// Key of the vocabulary's checksum in the file's own metadata.
const VOCABULARY: &str = "vocabulary";

/// A tensor's shape and values, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorData {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values; as many as the shape says.
    pub values: Vec<f32>,
}

/// What is wrong with a weights' file.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// It is no safetensors file, or is cut short.
    #[error("not a safetensors file, or damaged")]
    Format(#[source] safetensors::SafeTensorError),
    /// It holds other tensors than the model has.
    #[error("tensor {name}: {problem}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The model was trained with another vocabulary.
    #[error("the weights belong to another vocabulary ({found}, the profile has {expected})")]
    Vocabulary {
        /// Its checksum in the file.
        found: String,
        /// The profile's.
        expected: String,
    },
}

/// Names and shapes of a model's tensors.
fn shapes(sizes: Sizes, classes: usize) -> [(&'static str, Vec<usize>); 7] {
    let (e, h) = (sizes.embedding as usize, sizes.hidden as usize);
    [
        ("embedding", vec![classes, e]),
        ("weight_ih", vec![4 * h, e]),
        ("weight_hh", vec![4 * h, h]),
        ("bias_ih", vec![4 * h]),
        ("bias_hh", vec![4 * h]),
        ("head_weight", vec![classes, h]),
        ("head_bias", vec![classes]),
    ]
}

/// The file's bytes.
pub fn write(tensors: &BTreeMap<String, TensorData>, vocabulary: &str) -> Result<Vec<u8>, WeightsError> {
    let bytes: Vec<(&String, &TensorData, Vec<u8>)> =
        tensors.iter().map(|(name, t)| (name, t, t.values.iter().flat_map(|v| v.to_le_bytes()).collect())).collect();
    let views = bytes
        .iter()
        .map(|(name, t, data)| Ok((name.as_str(), TensorView::new(Dtype::F32, t.shape.clone(), data)?)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(WeightsError::Format)?;
    let about = HashMap::from([(VOCABULARY.to_owned(), vocabulary.to_owned())]);
    safetensors::serialize(views, Some(about)).map_err(WeightsError::Format)
}

/// Refuses weights of another vocabulary.
pub fn check_vocabulary(bytes: &[u8], expected: &str) -> Result<(), WeightsError> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(WeightsError::Format)?;
    let found = metadata.metadata().as_ref().and_then(|m| m.get(VOCABULARY)).map_or("none", String::as_str);
    if found == expected {
        return Ok(());
    }
    Err(WeightsError::Vocabulary { found: found.to_owned(), expected: expected.to_owned() })
}

/// The tensors of a model of these sizes, all of them and no others.
pub fn read(bytes: &[u8], sizes: Sizes, classes: usize) -> Result<BTreeMap<String, TensorData>, WeightsError> {
    let file = SafeTensors::deserialize(bytes).map_err(WeightsError::Format)?;
    let problem = |name: &str, problem: String| WeightsError::Tensor { name: name.to_owned(), problem };
    let expected = shapes(sizes, classes);
    if let Some(other) = file.names().into_iter().find(|n| expected.iter().all(|(name, _)| name != n)) {
        return Err(problem(other, "not one of this model's".into()));
    }
    let mut tensors = BTreeMap::new();
    for (name, shape) in expected {
        let view = file.tensor(name).map_err(|_source| problem(name, "missing".into()))?;
        if view.dtype() != Dtype::F32 || view.shape() != shape {
            return Err(problem(name, format!("is {:?} {:?}, expected F32 {shape:?}", view.dtype(), view.shape())));
        }
        let values: Vec<f32> = view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if values.iter().any(|v| !v.is_finite()) {
            return Err(problem(name, "holds values that are no numbers".into()));
        }
        tensors.insert(name.to_owned(), TensorData { shape, values });
    }
    Ok(tensors)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) const SIZES: Sizes = Sizes { embedding: 2, hidden: 3 };

    pub(crate) fn some(classes: usize) -> BTreeMap<String, TensorData> {
        shapes(SIZES, classes)
            .into_iter()
            .map(|(name, shape)| {
                let values = (0..shape.iter().product::<usize>()).map(|n| n as f32 / 8.0).collect();
                (name.to_owned(), TensorData { shape, values })
            })
            .collect()
    }

    #[test]
    fn reads_back_what_was_written() {
        let bytes = write(&some(5), "abc").expect("serialises");
        assert_eq!(read(&bytes, SIZES, 5).expect("reads"), some(5));
        check_vocabulary(&bytes, "abc").expect("its own vocabulary");
    }

    #[test]
    fn names_what_is_wrong() {
        let mut other = some(5);
        let check = |tensors: &BTreeMap<String, TensorData>, classes, expect: &str| {
            let bytes = write(tensors, "abc").expect("serialises");
            assert_eq!(read(&bytes, SIZES, classes).expect_err("refused").to_string(), expect);
        };
        check(&other, 6, "tensor embedding: is F32 [5, 2], expected F32 [6, 2]");
        other.get_mut("bias_hh").expect("there").values[3] = f32::NAN;
        check(&other, 5, "tensor bias_hh: holds values that are no numbers");
        other.remove("bias_hh");
        check(&other, 5, "tensor bias_hh: missing");
        other.insert("extra".into(), TensorData { shape: vec![1], values: vec![0.0] });
        check(&other, 5, "tensor extra: not one of this model's");
        let bytes = write(&some(5), "abc").expect("serialises");
        assert_eq!(
            check_vocabulary(&bytes, "xyz").expect_err("another").to_string(),
            "the weights belong to another vocabulary (abc, the profile has xyz)"
        );
    }

    proptest! {
        #[test]
        fn garbage_and_cuts_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in any::<prop::sample::Index>()) {
            prop_assert!(read(&bytes, SIZES, 5).is_err());
            let whole = write(&some(5), "abc").expect("serialises");
            prop_assert!(read(&whole[..cut.index(whole.len())], SIZES, 5).is_err());
        }
    }
}
