//! k-means over how often each call is made. *Pure.*
//!
//! In: examples. Out: from normal ones, the distance to the nearest centroid; from both kinds, the share of attacks in the
//! cluster. Never: a label while the clusters are found.
//!
//! Lloyd's algorithm from k-means++ starts (Arthur and Vassilvitskii, 2007), by smartcore, which keeps its centroids to
//! itself: they are taken again as the means of what it put into each cluster.

use crate::evaluate::baseline::features::{Features, Scale, matrix, sample, sample_both};
use crate::evaluate::baseline::method::{Example, FitError, Kind, Method};
use smartcore::cluster::kmeans::{KMeans, KMeansParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;

/// Calls counted at most.
const FEATURES: usize = 500;
/// Clusters of normal behaviour: a container does a handful of different things.
const CLUSTERS: usize = 8;
/// Clusters where there are two classes, as in Cosmos' table.
const CLASSES: usize = 2;
/// Examples learned from at most.
const EXAMPLES: usize = 20_000;
const PASSES: usize = 100;

/// Distance to normal's centroids.
pub(super) struct Distance {
    features: Features,
    centroids: Vec<Vec<f32>>,
}

impl Distance {
    pub(super) fn fit(normal: &[Example<'_>], seed: u64) -> Result<Self, FitError> {
        let normal = sample(normal, EXAMPLES, seed);
        let features = Features::choose(&[&normal], 1, FEATURES);
        let rows = features.rows(&normal, Scale::Share);
        Ok(Self { centroids: centroids(&rows, CLUSTERS, seed)?, features })
    }
}

impl Method for Distance {
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        examples.iter().map(|e| nearest(&self.centroids, &self.features.row(e, Scale::Share)).1).collect()
    }
}

/// Share of attacks in the nearest cluster.
pub(super) struct Clusters {
    features: Features,
    centroids: Vec<Vec<f32>>,
    shares: Vec<f64>,
}

impl Clusters {
    pub(super) fn fit(normal: &[Example<'_>], attack: &[Example<'_>], seed: u64) -> Result<Self, FitError> {
        let (normal, attack) = sample_both(normal, attack, EXAMPLES, seed);
        let features = Features::choose(&[&normal, &attack], 1, FEATURES);
        let mut rows = features.rows(&normal, Scale::Share);
        rows.extend(features.rows(&attack, Scale::Share));
        let centroids = centroids(&rows, CLASSES, seed)?;
        let mut members = vec![(0_u32, 0_u32); centroids.len()];
        for (at, row) in rows.iter().enumerate() {
            let (all, attacks) = &mut members[nearest(&centroids, row).0];
            *all += 1;
            *attacks += u32::from(at >= normal.len());
        }
        let shares = members.into_iter().map(|(all, attacks)| f64::from(attacks) / f64::from(all.max(1))).collect();
        Ok(Self { features, centroids, shares })
    }
}

impl Method for Clusters {
    fn score(&self, examples: &[Example<'_>]) -> Vec<f64> {
        examples.iter().map(|e| self.shares[nearest(&self.centroids, &self.features.row(e, Scale::Share)).0]).collect()
    }

    fn decision(&self) -> Option<f64> {
        Some(0.5)
    }
}

/// The index of the nearest centroid, and its Euclidean distance.
fn nearest(centroids: &[Vec<f32>], row: &[f32]) -> (usize, f64) {
    let squared = |c: &Vec<f32>| c.iter().zip(row).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
    let distances = centroids.iter().map(squared).enumerate();
    let (at, squared) = distances.min_by(|a, b| a.1.total_cmp(&b.1)).expect("there is at least one centroid");
    (at, squared.sqrt())
}

/// At most `clusters` centroids of `rows`, fewer if fewer rows differ.
fn centroids(rows: &Vec<Vec<f32>>, clusters: usize, seed: u64) -> Result<Vec<Vec<f32>>, FitError> {
    let mut distinct: Vec<&Vec<f32>> = rows.iter().collect();
    distinct.sort_unstable_by(|a, b| a.partial_cmp(b).expect("shares are numbers"));
    distinct.dedup();
    if distinct.len() <= clusters {
        return Ok(distinct.into_iter().cloned().collect());
    }
    let data = matrix(rows);
    let parameters = KMeansParameters { k: clusters, max_iter: PASSES, seed: Some(seed) };
    let fitted = KMeans::<f32, usize, DenseMatrix<f32>, Vec<usize>>::fit(&data, parameters).and_then(|k| k.predict(&data));
    let columns = rows[0].len();
    let members = fitted.map_err(|source| FitError::Library { kind: Kind::KMeans, rows: rows.len(), columns, source })?;
    let mut sums = vec![(vec![0.0_f64; columns], 0_u32); clusters];
    for (row, cluster) in rows.iter().zip(members) {
        let (sum, size) = &mut sums[cluster];
        sum.iter_mut().zip(row).for_each(|(s, x)| *s += f64::from(*x));
        *size += 1;
    }
    let mean = |(sum, size): (Vec<f64>, u32)| sum.into_iter().map(|s| (s / f64::from(size)) as f32).collect();
    Ok(sums.into_iter().filter(|(_, size)| *size > 0).map(mean).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn centroids_are_the_means_of_clear_clusters() {
        let rows: Vec<Vec<f32>> = [0.0, 0.1, 0.2, 0.8, 0.9, 1.0].iter().map(|&x| vec![x, 0.5]).collect();
        let mut found = centroids(&rows, 2, 1).expect("fits");
        found.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
        let expect = [[0.1, 0.5], [0.9, 0.5]];
        assert!(found.iter().flatten().zip(expect.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        let (at, distance) = nearest(&found, &[0.9, 0.1]);
        assert!(at == 1 && (distance - 0.4).abs() < 1e-6);
    }

    #[test]
    fn fewer_different_rows_than_clusters_are_their_own_centroids() {
        let rows = vec![vec![0.5, 0.5], vec![1.0, 0.0], vec![0.5, 0.5]];
        assert_eq!(centroids(&rows, 8, 1).expect("fits"), [vec![0.5, 0.5], vec![1.0, 0.0]]);
    }
}
