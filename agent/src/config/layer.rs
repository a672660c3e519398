//! One source's settings, put over those of the source before it.
//!
//! In: values by section and name. Out: a table in which the last source that said something wins. Never: looks at a
//! value.
//!
//! Own code: `config` turns types into one another ("yes" into true), `figment` guesses them (a node named 1 is a number)
//! and brings a second TOML parser; the keys, flags and checks around these lines would stay.

use toml::{Table, Value};

/// What one source says; what is absent is left to the source before it.
#[derive(Debug, Default)]
pub(super) struct Layer(pub(super) Table);

impl Layer {
    /// Says a value; `None`: says nothing.
    pub(super) fn put(&mut self, section: &str, name: &str, value: Option<impl Into<Value>>) {
        if let (Some(value), Value::Table(table)) = (value, self.0.entry(section).or_insert_with(|| Value::Table(Table::new()))) {
            table.insert(name.to_owned(), value.into());
        }
    }

    /// Wins over what is below.
    pub(super) fn over(self, below: &mut Table) {
        for (section, values) in self.0 {
            match (below.get_mut(&section), values) {
                (Some(Value::Table(below)), Value::Table(values)) => below.extend(values),
                (_, values) => {
                    below.insert(section, values);
                }
            }
        }
    }
}
