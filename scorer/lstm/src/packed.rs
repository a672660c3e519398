//! Weights as the kernels want them: folded, side by side, padded to whole vectors.
//!
//! In: [`Weights`]. Out: [`Float`] or [`Int8`]. Never: an approximation beyond what the name says.
//!
//! Units and classes are padded with zero weights: a padded unit's state stays 0; a padded class's logit is [`NEVER`].

use crate::weights::Weights;

/// A logit of something that never happens: finite, so that no infinity is ever subtracted from another.
pub(crate) const NEVER: f32 = -1.0e30;
/// Hidden states are in −1 to 1; times this they are 8 bits.
pub(crate) const STEPS: f32 = 127.0;
/// Added to them: the vector unit multiplies unsigned by signed bytes.
pub(crate) const OFFSET: i32 = 128;

/// Four vectors on a cache line's border: the same units of the gates input, forget, cell, output.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Quad<T, const L: usize>(pub(crate) [[T; L]; 4]);

/// One vector on a cache line's border.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line<T, const L: usize>(pub(crate) [T; L]);

/// Pieces that σ is approximated in: what two vectors of 16 hold.
const PIECES: usize = 32;
/// Where they end: beyond, σ is within 5 × 10⁻⁵ of 0 or 1. A little less than the last piece's end, so that no place is beyond it.
pub(crate) const REACH: f32 = 9.9999;
/// Pieces to a unit of x.
pub(crate) const PIECES_PER_UNIT: f32 = 1.6;
/// The piece that begins at 0.
pub(crate) const MIDDLE: f32 = 16.0;

/// σ as a parabola for each piece of −10 to 10, through its values at Chebyshev's points: within 2 × 10⁻⁴.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct Sigmoid(pub(crate) [[[f32; 16]; 2]; 3]);

impl Sigmoid {
    fn new() -> Self {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let width = 1.0 / f64::from(PIECES_PER_UNIT);
        let mut table = [[[0.0; 16]; 2]; 3];
        for piece in 0..PIECES {
            let middle = (piece as f64 + 0.5 - f64::from(MIDDLE)) * width;
            let off = width / 2.0 * 0.75f64.sqrt();
            let [low, mid, high] = [-off, 0.0, off].map(|d| sigmoid(middle + d));
            // a + b d + c d², d = x − middle, as a polynomial in x.
            let (b, c) = ((high - low) / (2.0 * off), (high + low - 2.0 * mid) / (2.0 * off * off));
            let terms = [mid - b * middle + c * middle * middle, b - 2.0 * c * middle, c];
            for (table, term) in table.iter_mut().zip(terms) {
                table[piece / 16][piece % 16] = term as f32;
            }
        }
        Self(table)
    }
}

/// What both precisions have.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Units, padded to whole vectors.
    pub(crate) units: usize,
    /// Vectors of units.
    pub(crate) tiles: usize,
    /// Vectors of classes.
    pub(crate) class_tiles: usize,
    pub(crate) classes: usize,
}

impl Shape {
    fn new(weights: &Weights<'_>, lanes: usize) -> Self {
        let tiles = weights.hidden.div_ceil(lanes);
        let class_tiles = weights.classes.div_ceil(lanes);
        Self { units: tiles * lanes, tiles, class_tiles, classes: weights.classes }
    }
}

/// For f32.
#[derive(Debug)]
pub(crate) struct Float<const L: usize> {
    pub(crate) shape: Shape,
    pub(crate) sigmoid: Sigmoid,
    /// classes × tiles: what an input class adds to the gates.
    pub(crate) table: Vec<Quad<f32, L>>,
    /// tiles × units.
    pub(crate) recurrent: Vec<Quad<f32, L>>,
    /// class tiles × units.
    pub(crate) head: Vec<Line<f32, L>>,
    pub(crate) head_bias: Vec<Line<f32, L>>,
}

/// For 8-bit weights and states.
#[derive(Debug)]
pub(crate) struct Int8<const L: usize> {
    pub(crate) shape: Shape,
    pub(crate) sigmoid: Sigmoid,
    pub(crate) table: Vec<Quad<f32, L>>,
    /// tiles × units / 4: the weights from four units each.
    pub(crate) recurrent: Vec<Quad<[i8; 4], L>>,
    /// Of each tile: what the offset of the states has to be corrected by, and what a sum counts for.
    pub(crate) correction: Vec<Quad<i32, L>>,
    pub(crate) scale: Vec<Quad<f32, L>>,
    /// class tiles × units / 4.
    pub(crate) head: Vec<Line<[i8; 4], L>>,
    pub(crate) head_correction: Vec<Line<i32, L>>,
    pub(crate) head_scale: Vec<Line<f32, L>>,
    pub(crate) head_bias: Vec<Line<f32, L>>,
}

/// `[tile]` of four gates from a function of (gate, unit); padded units are `T::default()`.
fn quads<T: Copy + Default, const L: usize>(tiles: usize, hidden: usize, value: impl Fn(usize, usize) -> T) -> Vec<Quad<T, L>> {
    let of = |gate, unit| if unit < hidden { value(gate, unit) } else { T::default() };
    (0..tiles).map(|tile| Quad(std::array::from_fn(|gate| std::array::from_fn(|lane| of(gate, tile * L + lane))))).collect()
}

/// `[tile]` of classes from a function of the class; padded ones are `pad`.
fn lines<T: Copy, const L: usize>(tiles: usize, classes: usize, pad: T, value: impl Fn(usize) -> T) -> Vec<Line<T, L>> {
    let of = |class| if class < classes { value(class) } else { pad };
    (0..tiles).map(|tile| Line(std::array::from_fn(|lane| of(tile * L + lane)))).collect()
}

/// Embedding × input weights + biases, in double precision, for each class.
fn table<const L: usize>(w: &Weights<'_>, shape: &Shape) -> Vec<Quad<f32, L>> {
    let e = w.embedding_width;
    let row = |class: usize| {
        let embedded = &w.embedding[class * e..][..e];
        quads::<f32, L>(shape.tiles, w.hidden, |gate, unit| {
            let out = gate * w.hidden + unit;
            let product: f64 =
                embedded.iter().zip(&w.weight_ih[out * e..][..e]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            (product + f64::from(w.bias_ih[out]) + f64::from(w.bias_hh[out])) as f32
        })
    };
    (0..w.classes).flat_map(row).collect()
}

impl<const L: usize> Float<L> {
    /// Lays the weights out.
    pub(crate) fn new(w: &Weights<'_>) -> Self {
        let shape = Shape::new(w, L);
        let h = w.hidden;
        let from = |tile: usize, unit: usize| {
            Quad(std::array::from_fn(|gate| {
                std::array::from_fn(|lane| {
                    let out = tile * L + lane;
                    if out < h && unit < h { w.weight_hh[(gate * h + out) * h + unit] } else { 0.0 }
                })
            }))
        };
        let recurrent = (0..shape.tiles).flat_map(|tile| (0..shape.units).map(move |unit| from(tile, unit))).collect();
        let head = (0..shape.class_tiles)
            .flat_map(|tile| (0..shape.units).map(move |unit| (tile, unit)))
            .map(|(tile, unit)| {
                Line(std::array::from_fn(|lane| {
                    let class = tile * L + lane;
                    if class < w.classes && unit < h { w.head_weight[class * h + unit] } else { 0.0 }
                }))
            })
            .collect();
        let head_bias = lines(shape.class_tiles, w.classes, NEVER, |class| w.head_bias[class]);
        Self { table: table(w, &shape), recurrent, head, head_bias, sigmoid: Sigmoid::new(), shape }
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.table) + size_of_val(&*self.recurrent) + size_of_val(&*self.head) + size_of_val(&*self.head_bias)
    }
}

/// A matrix's row in 8 bits: value = scale × q, q in −127 to 127.
struct Row {
    scale: f32,
    q: Vec<i8>,
}

fn quantise(values: &[f32], padded: usize) -> Row {
    let largest = values.iter().fold(0f32, |m, v| m.max(v.abs()));
    let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
    let mut q: Vec<i8> = values.iter().map(|v| (v / scale).round().clamp(-127.0, 127.0) as i8).collect();
    q.resize(padded, 0);
    Row { scale, q }
}

impl Row {
    fn correction(&self) -> i32 {
        -OFFSET * self.q.iter().map(|q| i32::from(*q)).sum::<i32>()
    }

    fn four(&self, group: usize) -> [i8; 4] {
        std::array::from_fn(|i| self.q[group * 4 + i])
    }
}

impl<const L: usize> Int8<L> {
    /// Quantises the recurrent weights and the head; the table stays as it is.
    pub(crate) fn new(w: &Weights<'_>) -> Self {
        let shape = Shape::new(w, L);
        let (h, groups) = (w.hidden, shape.units / 4);
        let rows: Vec<Row> = w.weight_hh.chunks_exact(h).map(|row| quantise(row, shape.units)).collect();
        let classes: Vec<Row> = w.head_weight.chunks_exact(h).map(|row| quantise(row, shape.units)).collect();
        let mut recurrent = Vec::with_capacity(shape.tiles * groups);
        for tile in 0..shape.tiles {
            for group in 0..groups {
                recurrent.push(Quad(std::array::from_fn(|gate| {
                    std::array::from_fn(|lane| {
                        let unit = tile * L + lane;
                        if unit < h { rows[gate * h + unit].four(group) } else { [0; 4] }
                    })
                })));
            }
        }
        let mut head = Vec::with_capacity(shape.class_tiles * groups);
        for tile in 0..shape.class_tiles {
            for group in 0..groups {
                head.push(Line(std::array::from_fn(|lane| classes.get(tile * L + lane).map_or([0; 4], |row| row.four(group)))));
            }
        }
        let (tiles, class_tiles, n) = (shape.tiles, shape.class_tiles, w.classes);
        Self {
            table: table(w, &shape),
            recurrent,
            correction: quads(tiles, h, |gate, unit| rows[gate * h + unit].correction()),
            scale: quads(tiles, h, |gate, unit| rows[gate * h + unit].scale / STEPS),
            head,
            head_correction: lines(class_tiles, n, 0, |class| classes[class].correction()),
            head_scale: lines(class_tiles, n, 0.0, |class| classes[class].scale / STEPS),
            head_bias: lines(class_tiles, n, NEVER, |class| w.head_bias[class]),
            sigmoid: Sigmoid::new(),
            shape,
        }
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.table)
            + size_of_val(&*self.recurrent)
            + size_of_val(&*self.correction)
            + size_of_val(&*self.scale)
            + size_of_val(&*self.head)
            + 3 * size_of_val(&*self.head_bias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigma_in_pieces_is_sigma() {
        let Sigmoid(table) = Sigmoid::new();
        for i in -20_000..=20_000 {
            let x = (i as f32 / 1000.0).clamp(-REACH, REACH);
            let piece = (x * PIECES_PER_UNIT + MIDDLE) as usize;
            let [a, b, c] = table.each_ref().map(|t| t[piece / 16][piece % 16]);
            let (said, exact) = (a + x * (b + x * c), 1.0 / (1.0 + (-i as f32 / 1000.0).exp()));
            assert!((said - exact).abs() < 2e-4, "{x}: {said}, not {exact}");
        }
    }
}
