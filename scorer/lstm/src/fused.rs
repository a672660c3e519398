//! The kernel: from classes to surprisals, one source for all processors and both precisions.
//!
//! In: packed weights, a group of sequences, longest first. Out: an [`Answer`] for each. Never: a choice of processor.
//!
//! `kernel!` is that source; f32 and int8 (`float!`, `int8!`) differ in how states are stored and multiplied.
//! A macro, not a trait: the compiler only puts vector instructions into functions that are marked for them, and a trait's
//! functions cannot be.
#![allow(clippy::wildcard_imports, reason = "a vector unit's whole vocabulary, under the names that all of them share")]

/// The source. `$rows` sequences make a block; with four gates each they fill the vector unit's registers.
macro_rules! kernel {
    ($packed:ty, $rows:literal, $(#[$attr:meta])*) => {
        use crate::sequence::{Answer, Ask, Place, Sequence, likeliest, most_surprising};

        /// Sequences that share each load of a weight.
        const ROWS: usize = $rows;
        /// e to the x, x in −87 to 87, within 2 units of the last digit (Cephes' expf, Moshier 1989).
        $(#[$attr])*
        #[inline]
        fn exp(x: F) -> F {
            let n = round(mul(x, splat(std::f32::consts::LOG2_E)));
            // ln 2 in two parts, so that the product with a small whole number is exact.
            let r = fma(n, splat(-0.693_359_4), x);
            let r = fma(n, splat(2.121_944_4e-4), r);
            let mut p = splat(1.987_569_1e-4);
            for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
                p = fma(p, r, splat(c));
            }
            scale(fma(mul(p, r), r, add(r, splat(1.0))), n)
        }

        /// ln of the sum of e to the logits: −ln probability of a class is this minus its logit.
        $(#[$attr])*
        #[inline]
        fn normaliser(logits: &[[f32; LANES]]) -> f32 {
            let mut top = splat(crate::packed::NEVER);
            for tile in logits {
                top = max(top, load(tile));
            }
            let top = largest(top);
            let (shift, mut sums) = (splat(top), splat(0.0));
            for tile in logits {
                sums = add(sums, exp(max(sub(load(tile), shift), splat(-87.0))));
            }
            top + sum(sums).ln()
        }

        /// Judges a group of sequences, longest first.
        $(#[$attr])*
        pub(crate) fn run(p: &$packed, group: &[Sequence<'_>], ask: &Ask, out: &mut Vec<Answer>) {
            let (tiles, width, class_tiles) = (p.shape.tiles, p.shape.units / PER, p.shape.class_tiles);
            let blocks = group.len().div_ceil(ROWS);
            let mut now = vec![ZERO; blocks * ROWS * width];
            let mut next = now.clone();
            let mut cells = vec![[0f32; LANES]; blocks * ROWS * tiles];
            let mut logits = vec![[0f32; LANES]; ROWS * class_tiles];
            let mut nll: Vec<Vec<f32>> = group.iter().map(|s| Vec::with_capacity(s.scored())).collect();
            // States after which a scored target follows, for who asks what was expected there.
            let mut kept: Vec<Vec<Cell>> =
                group.iter().map(|s| Vec::with_capacity(if ask.places > 0 { s.scored() * width } else { 0 })).collect();
            let longest = group.first().map_or(0, Sequence::len);
            for t in 0..longest {
                let active = group.partition_point(|s| s.len() > t).div_ceil(ROWS);
                for tile in 0..tiles {
                    for block in 0..active {
                        let rows = &group[block * ROWS..group.len().min((block + 1) * ROWS)];
                        let mut classes = [0usize; ROWS];
                        for (class, s) in classes.iter_mut().zip(rows) {
                            *class = s.inputs.get(t).map_or(0, |c| usize::from(*c));
                        }
                        let from = block * ROWS * width;
                        let sums = gates(p, tile, &classes, &now[from..from + ROWS * width]);
                        for (r, sums) in sums.iter().enumerate() {
                            let state = units(&p.sigmoid, sums, &mut cells[(block * ROWS + r) * tiles + tile]);
                            put(state, &mut next[from + r * width..][..width], tile);
                        }
                    }
                }
                std::mem::swap(&mut now, &mut next);
                for block in 0..active {
                    let first = block * ROWS;
                    let rows = &group[first..group.len().min(first + ROWS)];
                    if !rows.iter().any(|s| s.is_scored(t)) {
                        continue;
                    }
                    let states = &now[first * width..][..ROWS * width];
                    head(p, states, &mut logits);
                    for (r, s) in rows.iter().enumerate().filter(|(_, s)| s.is_scored(t)) {
                        let logits = &logits[r * class_tiles..][..class_tiles];
                        let target = usize::from(s.targets[t]);
                        let logit = logits[target / LANES][target % LANES];
                        let shared = if s.targets[t] == ask.shared.0 { ask.shared.1 } else { 0.0 };
                        nll[first + r].push((normaliser(logits) - logit).max(0.0) + shared);
                        if ask.places > 0 {
                            kept[first + r].extend_from_slice(&states[r * width..][..width]);
                        }
                    }
                }
            }
            let first = out.len();
            out.extend(nll.into_iter().map(|nll| Answer { places: most_surprising(&nll, ask), nll }));
            // What was expected: the head once more, at the chosen places of all sequences.
            let wanted: Vec<(usize, usize)> =
                out[first..].iter().enumerate().flat_map(|(s, a)| (0..a.places.len()).map(move |k| (s, k))).collect();
            for part in wanted.chunks(ROWS) {
                for (r, (s, k)) in part.iter().enumerate() {
                    let at = out[first + s].places[*k].index * width;
                    next[r * width..][..width].copy_from_slice(&kept[*s][at..][..width]);
                }
                head(p, &next[..ROWS * width], &mut logits);
                for (r, (s, k)) in part.iter().enumerate() {
                    let logits = &logits[r * class_tiles..][..class_tiles];
                    let norm = normaliser(logits);
                    let place: &mut Place = &mut out[first + s].places[*k];
                    place.expected = likeliest(&logits.as_flattened()[..p.shape.classes], norm, ask.likeliest);
                }
            }
        }
    };
}

/// From the gates' sums to the units' next cell and state, exactly.
macro_rules! exact_units {
    ($(#[$attr:meta])*) => {
        /// Gates saturate: beyond this, e to it times itself twice would still be finite, and 1 − σ is below f32's last digit.
        const FAR: f32 = 28.0;

        /// e to the −x where x is a gate's sum.
        $(#[$attr])*
        #[inline]
        fn exp_neg(x: F) -> F {
            exp(max(min(sub(splat(0.0), x), splat(FAR)), splat(-FAR)))
        }

        /// One tile's units of one block: from the gates' sums to the next cell and state.
        $(#[$attr])*
        #[inline]
        fn units(_: &Sigmoid, sums: &[F; 4], cell: &mut [f32; LANES]) -> F {
            let one = splat(1.0);
            let [input, forget, fresh, output] = *sums;
            // σ(x) = 1 / (1 + e⁻ˣ) and tanh(x) = (1 − e⁻²ˣ) / (1 + e⁻²ˣ), brought to one denominator.
            let (i, f, o) = (add(one, exp_neg(input)), add(one, exp_neg(forget)), add(one, exp_neg(output)));
            let g = exp_neg(add(fresh, fresh));
            let ig = mul(i, add(one, g));
            let above = fma(load(cell), ig, mul(sub(one, g), f));
            let next = mul(above, recip(mul(ig, f)));
            store(next, cell);
            let t = exp_neg(add(next, next));
            mul(sub(one, t), recip(mul(o, add(one, t))))
        }
    };
}

/// The same with σ from a piecewise table: with 8-bit states, more precision would be lost anyway.
macro_rules! quick_units {
    ($(#[$attr:meta])*) => {
        $(#[$attr])*
        #[inline]
        fn sigmoid(table: &Sigmoid, x: F) -> F {
            let x = max(min(x, splat(packed::REACH)), splat(-packed::REACH));
            let piece = whole(fma(x, splat(packed::PIECES_PER_UNIT), splat(packed::MIDDLE)));
            let [constant, linear, square] = &table.0;
            fma(fma(pick(square, piece), x, pick(linear, piece)), x, pick(constant, piece))
        }

        /// One tile's units of one block: from the gates' sums to the next cell and state.
        $(#[$attr])*
        #[inline]
        fn units(table: &Sigmoid, sums: &[F; 4], cell: &mut [f32; LANES]) -> F {
            let [input, forget, fresh, output] = *sums;
            // tanh(x) = 2 σ(2x) − 1
            let (two, one) = (splat(2.0), splat(1.0));
            let fresh = sub(mul(two, sigmoid(table, add(fresh, fresh))), one);
            let next = fma(sigmoid(table, forget), load(cell), mul(sigmoid(table, input), fresh));
            store(next, cell);
            mul(sigmoid(table, output), sub(mul(two, sigmoid(table, add(next, next))), one))
        }
    };
}

/// How f32 keeps and multiplies states.
macro_rules! float {
    ($rows:literal, $(#[$attr:meta])*) => {
        use crate::packed::{Float, Sigmoid};
        type Cell = f32;
        const PER: usize = 1;
        const ZERO: Cell = 0.0;
        kernel!(Float<LANES>, $rows, $(#[$attr])*);
        exact_units!($(#[$attr])*);

        $(#[$attr])*
        #[inline]
        fn gates(p: &Float<LANES>, tile: usize, classes: &[usize; ROWS], states: &[Cell]) -> [[F; 4]; ROWS] {
            let units = p.shape.units;
            let mut sums = [[splat(0.0); 4]; ROWS];
            for (sums, class) in sums.iter_mut().zip(classes) {
                let start = &p.table[class * p.shape.tiles + tile].0;
                for (sum, start) in sums.iter_mut().zip(start) {
                    *sum = load(start);
                }
            }
            let weights = &p.recurrent[tile * units..][..units];
            let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
            for (r, row) in rows.iter_mut().enumerate() {
                *row = &states[r * units..][..units];
            }
            for k in 0..units {
                let w = &weights[k].0;
                let w = [load(&w[0]), load(&w[1]), load(&w[2]), load(&w[3])];
                for r in 0..ROWS {
                    let x = splat(rows[r][k]);
                    for gate in 0..4 {
                        sums[r][gate] = fma(w[gate], x, sums[r][gate]);
                    }
                }
            }
            sums
        }

        $(#[$attr])*
        #[inline]
        fn put(state: F, row: &mut [Cell], tile: usize) {
            if let Some(to) = row[tile * LANES..].first_chunk_mut() {
                store(state, to);
            }
        }

        $(#[$attr])*
        #[inline]
        fn head(p: &Float<LANES>, states: &[Cell], logits: &mut [[f32; LANES]]) {
            let (units, class_tiles) = (p.shape.units, p.shape.class_tiles);
            let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
            for (r, row) in rows.iter_mut().enumerate() {
                *row = &states[r * units..][..units];
            }
            for tile in 0..class_tiles {
                let weights = &p.head[tile * units..][..units];
                let mut sums = [load(&p.head_bias[tile].0); ROWS];
                for k in 0..units {
                    let w = load(&weights[k].0);
                    for r in 0..ROWS {
                        sums[r] = fma(w, splat(rows[r][k]), sums[r]);
                    }
                }
                for (r, sum) in sums.iter().enumerate() {
                    store(*sum, &mut logits[r * class_tiles + tile]);
                }
            }
        }
    };
}

/// How 8 bits keep and multiply states.
macro_rules! int8 {
    ($rows:literal, $(#[$attr:meta])*) => {
        use crate::packed::{Int8, OFFSET, STEPS, Sigmoid};
        /// Four neighbouring units: what one instruction takes.
        type Cell = [u8; 4];
        const PER: usize = 4;
        const ZERO: Cell = [OFFSET as u8; 4];
        kernel!(Int8<LANES>, $rows, $(#[$attr])*);

        $(#[$attr])*
        #[inline]
        fn gates(p: &Int8<LANES>, tile: usize, classes: &[usize; ROWS], states: &[Cell]) -> [[F; 4]; ROWS] {
            let groups = p.shape.units / PER;
            let start = &p.correction[tile].0;
            let mut sums = [[load_i32(&start[0]), load_i32(&start[1]), load_i32(&start[2]), load_i32(&start[3])]; ROWS];
            let weights = &p.recurrent[tile * groups..][..groups];
            let mut rows: [&[Cell]; ROWS] = [&[]; ROWS];
            for (r, row) in rows.iter_mut().enumerate() {
                *row = &states[r * groups..][..groups];
            }
            for k in 0..groups {
                let w = &weights[k].0;
                for r in 0..ROWS {
                    let x = splat4(rows[r][k]);
                    for gate in 0..4 {
                        sums[r][gate] = dot(sums[r][gate], x, &w[gate]);
                    }
                }
            }
            let scale = &p.scale[tile].0;
            let mut out = [[splat(0.0); 4]; ROWS];
            for r in 0..ROWS {
                let table = &p.table[classes[r] * p.shape.tiles + tile].0;
                for gate in 0..4 {
                    out[r][gate] = fma(to_float(sums[r][gate]), load(&scale[gate]), load(&table[gate]));
                }
            }
            out
        }

        $(#[$attr])*
        #[inline]
        fn put(state: F, row: &mut [Cell], tile: usize) {
            let steps = bytes(round(fma(state, splat(STEPS), splat(OFFSET as f32))));
            row[tile * LANES / PER..][..LANES / PER].as_flattened_mut().copy_from_slice(&steps);
        }

        $(#[$attr])*
        #[inline]
        fn head(p: &Int8<LANES>, states: &[Cell], logits: &mut [[f32; LANES]]) {
            let (groups, class_tiles) = (p.shape.units / PER, p.shape.class_tiles);
            let mut rows: [&[Cell]; ROWS] = [&[]; ROWS];
            for (r, row) in rows.iter_mut().enumerate() {
                *row = &states[r * groups..][..groups];
            }
            for tile in 0..class_tiles {
                let weights = &p.head[tile * groups..][..groups];
                let mut sums = [load_i32(&p.head_correction[tile].0); ROWS];
                for k in 0..groups {
                    for r in 0..ROWS {
                        sums[r] = dot(sums[r], splat4(rows[r][k]), &weights[k].0);
                    }
                }
                let (factor, bias) = (load(&p.head_scale[tile].0), load(&p.head_bias[tile].0));
                for (r, sum) in sums.iter().enumerate() {
                    store(fma(to_float(*sum), factor, bias), &mut logits[r * class_tiles + tile]);
                }
            }
        }
    };
}

/// f32 anywhere.
pub(crate) mod float_portable {
    use crate::simd::portable::*;
    float!(2,);
}

/// 8 bits anywhere.
pub(crate) mod int8_portable {
    use crate::simd::portable::*;
    int8!(2,);
    exact_units!();
}

/// f32 with AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
pub(crate) mod float_avx2 {
    use crate::simd::avx2::*;
    float!(3, #[target_feature(enable = "avx2,fma")]);
}

/// f32 with AVX-512.
#[cfg(target_arch = "x86_64")]
pub(crate) mod float_avx512 {
    use crate::simd::avx512::*;
    float!(6, #[target_feature(enable = "avx512f")]);
}

/// 8 bits with AVX-512 VNNI.
#[cfg(target_arch = "x86_64")]
pub(crate) mod int8_vnni {
    use crate::packed;
    use crate::simd::avx512::*;
    int8!(6, #[target_feature(enable = "avx512f,avx512vnni")]);
    quick_units!(#[target_feature(enable = "avx512f,avx512vnni")]);
}
