//! Tokens to classes of the model, and back. *Pure.*
//!
//! In: the tokens that training saw. Out: small consecutive class numbers. Never: a probability.
//!
//! **Invariant:** the order of classes follows the order of tokens, so equal sets of tokens give equal
//! vocabularies, equal checksums and interchangeable models.

use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use surprisal_proto::token::{RULES, Token};

/// Fills windows up to the longest of a batch; never a target.
pub const PAD: i64 = 0;
/// Stands before a thread's first call; never a target.
pub const BOS: i64 = 1;
/// Stands for every token that training did not see.
pub const UNKNOWN: i64 = 2;
/// Class of the first token.
const FIRST: i64 = 3;

/// The tokens a model knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    tokens: Vec<Token>,
    classes: HashMap<Token, i64>,
}

impl Vocabulary {
    /// Of these tokens; repetitions and order do not matter.
    pub fn new(tokens: impl IntoIterator<Item = Token>) -> Self {
        let tokens: Vec<_> = tokens.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let classes = tokens.iter().zip(FIRST..).map(|(t, c)| (*t, c)).collect();
        Self { tokens, classes }
    }

    /// Tokens known, ascending.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Classes of a model with this vocabulary: the tokens, the unknown class, start and padding.
    pub fn classes(&self) -> usize {
        self.tokens.len() + FIRST as usize
    }

    /// Whether training saw the token.
    pub fn contains(&self, token: Token) -> bool {
        self.classes.contains_key(&token)
    }

    /// The token's class; [`UNKNOWN`] if training did not see it.
    pub fn class(&self, token: Token) -> i64 {
        self.classes.get(&token).copied().unwrap_or(UNKNOWN)
    }

    /// The token of a class; `None` for start, padding, unknown and what is out of range.
    pub fn token(&self, class: i64) -> Option<Token> {
        usize::try_from(class - FIRST).ok().and_then(|i| self.tokens.get(i)).copied()
    }

    /// How many tokens an agent could send that are not known, at least 1. They share the unknown class
    /// evenly: an unseen token has probability p(unknown) / `unseen()`.
    pub fn unseen(&self) -> usize {
        universe().saturating_sub(self.tokens.len()).max(1)
    }

    /// SHA-256 over the tokens, hexadecimal.
    pub fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        for token in &self.tokens {
            hash.update(token.0.to_le_bytes());
        }
        hex(&hash.finalize())
    }
}

/// Tokens that an agent could send: calls without a class count once, the others 64 times.
fn universe() -> usize {
    const FOREIGN_AND_UNKNOWN: usize = 2;
    FOREIGN_AND_UNKNOWN + RULES.iter().map(|rule| if *rule == 0 { 1 } else { 64 }).sum::<usize>()
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn special_classes_are_no_tokens() {
        let v = Vocabulary::new([Token(9), Token(0), Token(9)]);
        assert_eq!((v.classes(), v.tokens()), (5, [Token(0), Token(9)].as_slice()));
        for (token, class) in [(Token(0), 3), (Token(9), 4), (Token(1), UNKNOWN)] {
            assert_eq!(v.class(token), class);
        }
        for (class, token) in
            [(PAD, None), (BOS, None), (UNKNOWN, None), (3, Some(Token(0))), (5, None), (-1, None), (i64::MIN + 9, None)]
        {
            assert_eq!(v.token(class), token);
        }
        assert_eq!(v.unseen(), universe() - 2);
    }

    proptest! {
        #[test]
        fn only_the_set_of_tokens_counts(mut tokens in prop::collection::vec(any::<u16>().prop_map(Token), 0..200)) {
            let v = Vocabulary::new(tokens.clone());
            for t in &tokens {
                prop_assert_eq!(v.token(v.class(*t)), Some(*t));
            }
            tokens.reverse();
            let again = Vocabulary::new(tokens.into_iter().chain(v.tokens().iter().copied()));
            prop_assert_eq!(again.checksum(), v.checksum());
            prop_assert_eq!(again, v);
        }

        #[test]
        fn other_tokens_give_another_checksum(a in prop::collection::btree_set(any::<u16>(), 0..20), b in prop::collection::btree_set(any::<u16>(), 0..20)) {
            let sum = |s: &BTreeSet<u16>| Vocabulary::new(s.iter().copied().map(Token)).checksum();
            prop_assert_eq!(sum(&a) == sum(&b), a == b);
        }
    }
}
